"""The paper's diagnosis: how many negatives stand at the decision boundary, and how many are easy."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch

from callbacks.window import Window, log_now
from callbacks.windowed import WindowedCallback
from lightning_modules.run_length import run_length

_STAGES = 3


class BoundaryProportion(WindowedCallback):
    """Logs the shares of B and S, violations, β and the two margins, for any objective.

    Since the last log line and over all ranks: `boundary/proportion` (B) and `boundary/easy_proportion` (S) as shares
    of the negatives, `boundary/violation_rate` (s_i ≥ s_w), `beta/{mean,min,max}` over selected negatives,
    `margin/positive_to_boundary` (s_w − s_i over B) and `margin/boundary_to_easy` (mean over B minus mean over S, where
    S is not empty). At the end of each third of training (the three stages of arXiv 2605.00327, Fig. 3) the first three
    are logged once more over that third, as `boundary/stage_1/proportion` and so on; not a third of which a run had a
    part before it was extended.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stage_window = Window()
        self._stage_start = 0
        self._total: int | None = None

    def collect(self, window: Window, outputs: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Adds a preference step; a supervised one has no negatives."""
        if "boundary" not in outputs:
            return
        scores, mask, boundary = outputs["compared"], outputs["mask"], outputs["boundary"]
        positive, negative = scores[:, :1], scores[:, 1:]
        easy = mask & ~boundary
        for target in (window, self._stage_window):
            target.add("boundary/proportion", boundary.float(), mask)
            target.add("boundary/easy_proportion", easy.float(), mask)
            target.add("boundary/violation_rate", (negative >= positive).float(), mask)
        window.add("margin/positive_to_boundary", positive - negative, boundary)
        gap = _mean(negative, boundary) - _mean(negative, easy)
        window.add("margin/boundary_to_easy", gap, boundary.any(dim=1) & easy.any(dim=1))
        beta, selected = outputs["beta"], outputs["selected"]
        window.add("beta/mean", beta, selected)
        window.add_minimum("beta/min", beta, selected)
        window.add_maximum("beta/max", beta, selected)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collects and logs; the batch that completes a third also logs that third."""
        before = self._steps.completed
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        after, total = trainer.global_step, self._total
        if total is not None and (stage := _stage_ended(before, after, total)) is not None:
            start, self._stage_start = self._stage_start, after
            shares = self._stage_window.reduce(trainer).items()
            if start == _stage_end(stage - 1, total):
                log_now(
                    trainer,
                    pl_module,
                    {name.replace("/", f"/stage_{stage}/"): value for name, value in shares},
                )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores both windows of a checkpoint, and says when thirds are of another length from now on."""
        self._total = run_length(trainer)
        if self._restored is not None:
            if self._restored["total"] != self._total:
                pl_module.print(
                    "boundary/stage_…: the thirds in metrics.csv so far are of the length that the run had, the others "
                    "of its length now"
                )
            self._stage_window.load_state_dict(self._restored["stage"], pl_module.device)
            self._stage_start = self._restored["stage_start"]
        super().on_train_start(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Both windows so far."""
        return {
            **super().state_dict(),
            "stage": self._stage_window.state_dict(),
            "stage_start": self._stage_start,
            "total": self._total,
        }


def _mean(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return torch.where(where, values, 0.0).sum(dim=1) / where.sum(dim=1).clamp(min=1)


def _stage_ended(before: int, after: int, total: int) -> int | None:
    """The third (1, 2 or 3) whose last step is `after`."""
    for stage in range(1, _STAGES + 1):
        if before < _stage_end(stage, total) <= after:
            return stage
    return None


def _stage_end(stage: int, total: int) -> int:
    """Return the last step of a third."""
    return -(-stage * total // _STAGES)
