"""Which negatives carry the gradient: measured at the loss, and where it counts, in the parameters."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from callbacks.window import Window, log_now
from callbacks.windowed import WindowedCallback
from datamodules.checks import require_at_least
from lightning_modules.sharded import require_whole_weights
from losses import ResponseScores, three_means_boundary
from losses.objective import Objective

_PARTS = 4


class GradientSuppression(WindowedCallback):
    """Logs how much of the gradient comes from S and from B.

    Since the last log line and over all ranks: `gradient/easy_share` and `gradient/boundary_share`, the shares of
    Σ |∂loss/∂s_i| over the negatives. A share says nothing about size: for DMPO every negative has the same weight.
    So every N steps the gradients of the parameters are compared: `gradient/easy_norm` and `gradient/boundary_norm`,
    the norms of g_S = Σ_{i∈S} ∂loss/∂s_i · ∇s_i and of g_B, their `gradient/cosine`, and `gradient/variance`, the
    unbiased estimate of tr Cov of a quarter-batch's gradient, from the quarters of the batch and of all ranks. It is
    measured at the weights before the step and changes nothing: gradients are returned, not accumulated, and the
    generators are left as they were. An empty S or B has norm 0 and no cosine.

    Args:
        every_n_steps: Steps between two measurements in the parameters; one costs a forward and six backwards.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        super().__init__()
        require_at_least(1, every_n_steps=every_n_steps)
        self._every_n_steps = every_n_steps
        self._measured: dict[str, float] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuses a strategy under which no process could take the parameters' gradients alone."""
        require_whole_weights(trainer, "GradientSuppression", "leave it out, or use trainer.strategy ddp")

    def collect(self, window: Window, outputs: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Adds the weights of a preference step."""
        if "weights" not in outputs:
            return
        weights, boundary, mask = outputs["weights"], outputs["boundary"], outputs["mask"]
        window.add("gradient/easy_share", (mask & ~boundary).to(weights.dtype), weights)
        window.add("gradient/boundary_share", boundary.to(weights.dtype), weights)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Measures in the parameters, on the first batch of every N-th step."""
        first = batch_idx % trainer.accumulate_grad_batches == 0
        if (
            not first
            or trainer.global_step % self._every_n_steps
            or not hasattr(pl_module, "response_scores")
        ):
            return
        with torch.random.fork_rng(), trainer.precision_plugin.forward_context(), torch.enable_grad():
            self._measured = _measure(trainer, pl_module, batch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs what was measured, on the line of the step it was measured for."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._measured:
            log_now(trainer, pl_module, self._measured)
            self._measured = {}


def _measure(trainer: pl.Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
    scores = pl_module.response_scores(batch)
    weights = _loss_gradient(pl_module.objective, scores)
    boundary = three_means_boundary(pl_module.objective.view(scores))
    parameters = [parameter for parameter in pl_module.parameters() if parameter.requires_grad]

    def pull_back(where: Tensor) -> Tensor:
        """The parameters' gradient of the loss through the scores chosen by `where` [B, 1 + K] alone."""
        chosen = torch.where(where, weights, 0.0)
        gradients = torch.autograd.grad(
            scores.policy, parameters, chosen, retain_graph=True, allow_unused=True
        )
        return torch.cat([g.flatten().double() for g in gradients if g is not None])

    column = torch.nn.functional.pad(boundary, (1, 0))
    easy = torch.nn.functional.pad(scores.present & ~boundary, (1, 0))
    parts = torch.arange(len(weights), device=weights.device) * _PARTS // len(weights)
    quarters = [pull_back((parts == part)[:, None].expand_as(weights)) for part in range(_PARTS)]
    # A quarter's own mean loss has _PARTS times the weight that it has in the mean over the batch.
    quarters_stack = torch.stack(quarters) * _PARTS
    both = trainer.strategy.reduce(torch.stack([pull_back(easy), pull_back(column)]), reduce_op="mean")
    return {**_compare(*both), "gradient/variance": _variance(trainer, quarters_stack)}


def _loss_gradient(objective: Objective, scores: ResponseScores) -> Tensor:
    """∂(mean loss)/∂s for every response, signs kept, shape [B, 1 + K]."""
    leaf = scores.policy.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(replace(scores, policy=leaf)).loss.mean(), leaf)
    return gradient


def _compare(easy: Tensor, boundary: Tensor) -> dict[str, float]:
    norms = {"gradient/easy_norm": easy.norm().item(), "gradient/boundary_norm": boundary.norm().item()}
    product = norms["gradient/easy_norm"] * norms["gradient/boundary_norm"]
    return {**norms, "gradient/cosine": (easy @ boundary).item() / product} if product else norms


def _variance(trainer: pl.Trainer, quarters: Tensor) -> float:
    """Σ ‖g_m − ḡ‖² / (M − 1) over the M quarters of all ranks, from sums that ranks can add."""
    mean = trainer.strategy.reduce(quarters.mean(dim=0), reduce_op="mean")
    scatter = trainer.strategy.reduce((quarters - mean).square().sum(), reduce_op="sum")
    return scatter.item() / (len(quarters) * trainer.world_size - 1)
