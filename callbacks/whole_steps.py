"""Accumulated gradients are in no checkpoint, so nothing is to happen in the middle of a step."""

from typing import Any

import lightning.pytorch as pl

from datamodules.errors import InputError


class WholeSteps(pl.Callback):
    """Keeps validations and checkpoints between steps, and resumes under another number of accumulated batches.

    Lightning counts batches: its `val_check_interval` may lie in the middle of a step, and a position in the epoch
    means something else once fewer or more batches make a step. Here a validation is moved to the end of the step
    before it, and Lightning's counts are translated when a checkpoint is loaded.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Moves validations.

        Raises:
            InputError: The last step of an epoch would have fewer batches than the others.
        """
        accumulated, batches = trainer.accumulate_grad_batches, trainer.num_training_batches
        if batches % accumulated:
            raise InputError(
                f"an epoch is limited to {batches} batches, of which {accumulated} are accumulated to a step: take a "
                f"multiple of {accumulated} as trainer.limit_train_batches"
            )
        if isinstance(trainer.val_check_batch, int):
            trainer.val_check_batch = max(1, trainer.val_check_batch // accumulated) * accumulated

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Says what Lightning's counts count."""
        checkpoint["accumulated"] = trainer.accumulate_grad_batches

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Translates the counts, before Lightning reads them."""
        if trainer.training:
            # Earlier versions did not say it, and refused another number.
            then = checkpoint.get("accumulated", trainer.accumulate_grad_batches)
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            for counts in (progress["total"], progress["current"]):
                steps = counts["processed"] // then
                # A checkpoint that is written where a batch ends comes before that batch is counted as completed.
                ending = counts["processed"] - counts["completed"]
                now = steps * trainer.accumulate_grad_batches
                counts.update(ready=now, started=now, processed=now, completed=now - ending)
