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
        """Moves validations, and begins an epoch.

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
        # A run that goes on where an epoch ended begins the next one; Lightning would take it for the one that ended.
        epochs = trainer.fit_loop.epoch_progress.current
        if epochs.processed == epochs.started:
            trainer.fit_loop.reset_restart_stage()

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
            counts = checkpoint["loops"]["fit_loop"]
            _count_as_after_a_step(counts, then, trainer, checkpoint["global_step"])


def _count_as_after_a_step(
    counts: dict[str, Any], accumulated: int, trainer: pl.Trainer, global_step: int
) -> None:
    """Rewrite a checkpoint's counts as if it had been written where the last batch of its last step ended.

    What Lightning does with a checkpoint depends on where it was written. At the end of training the epoch counts as
    over, in its middle too: a run that goes on would skip the rest of it, and log one step off.

    Args:
        counts: State of the fit loop, changed in place.
        accumulated: Batches of a step, as they were.
        trainer: Has the number of batches of a step, as it is now, and the number of epochs.
        global_step: Steps of the checkpoint.
    """
    batches, epochs = counts["epoch_loop.batch_progress"], counts["epoch_progress"]
    # Where a batch ends, it is not yet counted as completed; nor is its epoch, or its step for the loggers.
    ending = int(batches["current"]["processed"] >= accumulated)
    for count in (batches["total"], batches["current"]):
        now = count["processed"] // accumulated * trainer.accumulate_grad_batches
        count.update(ready=now, started=now, processed=now, completed=now - ending)
    counts["epoch_loop.state_dict"]["_batches_that_stepped"] = global_step - ending
    # Where nothing is left to train, all is completed: Lightning does not start at all.
    nothing_left = batches["is_last_batch"] and epochs["current"]["started"] == trainer.max_epochs
    for count in (epochs["total"], epochs["current"]):
        over = count["started"] - (0 if nothing_left else ending)
        count.update(processed=over, completed=over)
