"""Says so when held-out ranking falls while the training loss does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from callbacks.collapse_chart import Point, collapse_chart
from callbacks.collapse_rule import CollapseRule, Evidence, Watch
from callbacks.held_out import HeldOut
from callbacks.media import log_media, wandb_runs
from callbacks.window import Window
from lightning_modules.checkpoints import read_checkpoint

_LOSS = "loss"
_SHARE = "easy_gradient_share"


class CollapseAlarm(pl.Callback):
    """Compares every validation with the best one before it, example by example, and raises the alarm.

    The rule is `CollapseRule`'s. Both validations rank the same examples, so the standard errors are those of paired
    differences, with users as clusters (`HeldOut`); the training loss is a mean over the steps since the validation
    before; gradient norms are read where `GradientSuppression` logs them. What training starts from counts as a
    validation too where stage 1 (`init_from`) ran with this callback on the same examples: most collapses are early,
    and a run's first validation may be behind it.

    Logs with every validation but the first, against the best one before: `alarm/train_loss_change`, and
    `alarm/mrr_change` and `alarm/hit_ratio@1_change` each with its `…_error`, one standard error. The alarm is a
    warning in the log and a `run.alert` of W&B, which reaches people online only. W&B also gets `collapse`, one chart
    of the training loss and held-out hit_ratio@1.

    Args:
        z: Standard errors a fall must be beyond.
        margin: The fall of hit_ratio@1 that is not worth an alarm.
        patience: Falls in a row.
        stop: Also end training; `best.ckpt` stays what it was.

    Attributes:
        stopped: Whether it ended this training.

    Raises:
        ValueError: A setting cannot be.
    """

    def __init__(self, z: float = 4.0, margin: float = 0.02, patience: int = 1, stop: bool = False) -> None:
        self._stop = stop
        self.stopped = False
        self._watch = Watch(CollapseRule(z, margin, patience))
        self._window = Window()
        self._batches: list[Mapping[str, Tensor]] = []
        self._best: HeldOut | None = None
        self._best_step = 0
        self._points: list[Point] = []
        self._best_loss: float | None = None
        self._easy_share: float | None = None
        self._restored: Mapping[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Goes on from a checkpoint, or starts from stage 1's best validation."""
        if self._restored is not None:
            self._window.load_state_dict(self._restored, pl_module.device)
            self._restored = None
            return
        start = getattr(pl_module, "policy_from", None) or getattr(pl_module, "init_from", None)
        if isinstance(start, str) and Path(start).is_file():
            states = read_checkpoint(start)["callbacks"]
            self._best = _best_of(states.get(self.state_key, {}))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds the loss; training batches are all of one size."""
        self._window.add(_LOSS, outputs["loss"].detach())

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts a validation."""
        self._batches = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the ranks."""
        self._batches.append(outputs)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares, logs and decides, alike on every process."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        now = HeldOut.gather(self._batches)
        self._remember_norms(trainer)
        loss = self._window.reduce(trainer).get(_LOSS, float("nan"))
        self._draw(trainer, (trainer.global_step, loss, now.hit_ratio))
        if self._best_loss is None:  # before the first step there was no loss to compare with
            self._best_loss = loss
        if self._best is None or not now.same_examples(self._best):
            self._keep(now, loss, trainer.global_step)
            return
        evidence = self._evidence(now, self._best, loss - self._best_loss)
        pl_module.log_dict(_metrics(evidence), sync_dist=True)
        is_best = now.mrr > self._best.mrr
        if self._watch.see(None if is_best else evidence):
            self._sound(trainer, evidence)
        if is_best:
            self._keep(now, loss, trainer.global_step)

    def _draw(self, trainer: pl.Trainer, point: Point) -> None:
        self._points.append(point)
        if wandb_runs(trainer):
            log_media(trainer, {"collapse": collapse_chart(self._points)})

    def _evidence(self, now: HeldOut, best: HeldOut, loss: float) -> Evidence:
        return Evidence(loss, now.mrr_since(best), now.hit_ratio_since(best), self._easy_share)

    def _keep(self, now: HeldOut, loss: float, step: int) -> None:
        self._best, self._best_loss, self._best_step = now, loss, step

    def _remember_norms(self, trainer: pl.Trainer) -> None:
        """Takes the norms as they were last logged; metrics of before a resume are gone, and the state has them."""
        norms = [trainer.callback_metrics.get(f"gradient/{part}_norm") for part in ("easy", "boundary")]
        easy, boundary = (None if norm is None else norm.item() for norm in norms)
        if easy is not None and boundary is not None and easy + boundary > 0:
            self._easy_share = easy / (easy + boundary)

    def _sound(self, trainer: pl.Trainer, evidence: Evidence) -> None:
        text = _message(trainer.global_step, self._best_step, evidence)
        rank_zero_warn(text + (" Training ends here." if self._stop else ""))
        for run in wandb_runs(trainer):
            run.alert("Held-out ranking collapses", text)
        if self._stop:
            self.stopped = trainer.should_stop = True

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Stores the norms measured so far, which `state_dict` cannot ask the trainer for."""
        self._remember_norms(trainer)
        checkpoint[_SHARE] = self._easy_share

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restores them."""
        self._easy_share = checkpoint.get(_SHARE)

    def state_dict(self) -> dict[str, Any]:
        """The best validation, the falls since, the loss so far and the points of the chart."""
        return {
            **self._window.state_dict(),
            "best": None if self._best is None else self._best.state_dict(),
            "best_loss": self._best_loss,
            "best_step": self._best_step,
            "points": list(self._points),
            "falls": self._watch.falls,
            "sounded": self._watch.sounded,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores them; the window waits for `on_train_start`."""
        self._restored = state_dict
        self._best = _best_of(state_dict)
        self._best_loss, self._best_step = state_dict["best_loss"], state_dict["best_step"]
        self._points = list(state_dict["points"])
        self._watch.falls, self._watch.sounded = state_dict["falls"], state_dict["sounded"]


def _best_of(state: Mapping[str, Any]) -> HeldOut | None:
    best = state.get("best")
    return None if best is None else HeldOut.from_state(best)


def _metrics(evidence: Evidence) -> dict[str, float]:
    return {
        "alarm/train_loss_change": evidence.loss,
        "alarm/mrr_change": evidence.mrr.mean,
        "alarm/mrr_error": evidence.mrr.error,
        "alarm/hit_ratio@1_change": evidence.hit_ratio.mean,
        "alarm/hit_ratio@1_error": evidence.hit_ratio.error,
    }


def _message(step: int, best_step: int, evidence: Evidence) -> str:
    hit, mrr = evidence.hit_ratio, evidence.mrr
    best = f"the best validation (step {best_step})" if best_step else "stage 1"
    share = (
        ""
        if evidence.easy_share is None
        else f"; easy negatives carry {evidence.easy_share:.2f} of the gradient"
    )
    return (
        f"step {step}: training loss fell by {-evidence.loss:.4g} since {best}, and so did held-out hit_ratio@1, by "
        f"{-hit.mean:.4f} (standard error {hit.error:.4f}), and mrr, by {-mrr.mean:.4f} ({mrr.error:.4f}){share}. "
        "best.ckpt holds the best validation of this run; try a lower learning rate, fewer negatives or DynamicPO."
    )
