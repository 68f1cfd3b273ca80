"""Stops a run whose loss is no longer a number, before a checkpoint can keep the damage."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from callbacks.last_checkpoint import LastCheckpoint
from callbacks.window import StepCounter
from datamodules.errors import InputError
from lightning_modules.reference_cache import CachedReference


class FiniteLoss(pl.Callback):
    """Raises when a loss was NaN or infinite.

    Every loss is looked at on the device; the host asks at log steps, before validation and before a checkpoint is
    written, so that no step waits and every checkpoint on disk is good. All processes stop together, also where only
    one of them had such a loss.
    """

    def __init__(self) -> None:
        self._finite: Tensor | None = None
        self._steps = StepCounter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts with no loss seen."""
        self._finite = None
        self._steps.start(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks at the loss."""
        finite = torch.isfinite(outputs["loss"].detach())
        self._finite = finite if self._finite is None else self._finite & finite
        if self._steps.logs_now(trainer):
            self._require_finite(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Asks before time is spent on a validation."""
        self._require_finite(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Asks before anything is written."""
        self._require_finite(trainer)

    def _require_finite(self, trainer: pl.Trainer) -> None:
        if self._finite is None:
            return
        if not trainer.strategy.reduce(self._finite.int(), reduce_op="min").item():
            _require_cached(trainer)
            raise InputError(
                f"the loss became NaN or infinite at or before step {trainer.global_step}: "
                f"{_float16_remedy(trainer) or _remedy(trainer)}"
            )


def _remedy(trainer: pl.Trainer) -> str:
    saved = any(
        isinstance(callback, LastCheckpoint) and callback.can_be_resumed(trainer)
        for callback in trainer.checkpoint_callbacks
    )
    # A resumed run keeps its learning rate; how gradients are clipped may change.
    clipping = (
        "the checkpoints on disk are from before it; go on from the last one with --ckpt_path last and a lower "
        "trainer.gradient_clip_val, or "
    )
    return f"{clipping if saved else ''}start over with a lower learning rate"


def _float16_remedy(trainer: pl.Trainer) -> str | None:
    """Return what helps where the numbers themselves are too small for a loss; None in any other precision."""
    weights = any(parameter.dtype == torch.float16 for parameter in trainer.lightning_module.parameters())
    if not weights and not trainer.precision.startswith("16"):
        return None
    return (
        f"float16 holds nothing above 65,504, and trainer.precision is {trainer.precision}: start over with "
        "trainer.precision bf16-mixed or 32-true, and if that is not enough with a lower learning rate"
    )


def _require_cached(trainer: pl.Trainer) -> None:
    """Raise where the loss is no number because the reference cache lacks an example."""
    reference = getattr(trainer.lightning_module, "reference", None)
    if not isinstance(reference, CachedReference):
        return
    example = int(trainer.strategy.reduce(reference.missed, reduce_op="max").item())
    if example >= 0:
        raise InputError(
            f"the loss became NaN at or before step {trainer.global_step}, since the reference cache lacks example "
            f"{example}: set model.reference_cache null, also to go on with --ckpt_path last"
        )
