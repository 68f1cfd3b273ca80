"""A run without an end is refused at its start, and one that ends before its first validation is told so."""

import math

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from datamodules.base import StoredDataModule
from datamodules.errors import InputError


class ValidationDue(pl.Callback):
    """Refuse, before anything is written, to train without an end; warn of a run that ends before its first validation.

    Without a validation there is no `best.ckpt`: fine for a trial of a few steps, a surprise after hours. With
    `trainer.limit_val_batches: 0` it is asked for; a time limit or early stopping makes it uncertain.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compare the batch after which the first validation is due with the length of the run.

        Raises:
            InputError: The run has no end, or validations are due after more batches than an epoch has.
        """
        data = trainer.datamodule
        ends_early = any(isinstance(callback, EarlyStopping | Timer) for callback in trainer.callbacks)
        if stage != "fit" or ends_early or not isinstance(data, StoredDataModule):
            return
        epoch = _batches_per_epoch(trainer, len(data.train_dataloader()))
        length = _batches_of_run(trainer, epoch)
        if length == math.inf:
            raise InputError(
                "training would never end: trainer.max_steps, trainer.max_epochs and trainer.max_time are unset: set "
                "one of them"
            )
        first = _first_validation(trainer, epoch)
        if trainer.limit_val_batches == 0 or first <= length:
            return
        due = _told(trainer, "val_check_interval", "check_val_every_n_epoch")
        if first == math.inf:
            raise InputError(
                f"no validation would ever run: an epoch has {epoch} batches ({due}): lower "
                "trainer.val_check_interval, or set trainer.check_val_every_n_epoch to null, to count over epochs"
            )
        rank_zero_warn(
            f"no validation will run, and there will be no best.ckpt: training ends after {length} batches "
            f"({_told(trainer, 'max_steps', 'max_epochs')}, {epoch} batches an epoch), the first validation is due "
            f"after {first} ({due})"
        )


def _batches_per_epoch(trainer: pl.Trainer, loaded: int) -> int:
    limit = trainer.limit_train_batches
    return min(loaded, limit) if isinstance(limit, int) else int(loaded * limit)


def _batches_of_run(trainer: pl.Trainer, epoch: int) -> float:
    steps, epochs = trainer.max_steps, trainer.max_epochs
    by_steps = math.inf if steps < 0 else steps * trainer.accumulate_grad_batches
    by_epochs = math.inf if epochs is None or epochs < 0 else epochs * epoch
    return min(by_steps, by_epochs)


def _first_validation(trainer: pl.Trainer, epoch: int) -> float:
    """Return the batch after which the first validation is due, counted from 1; 0 where the clock decides."""
    interval, every = getattr(trainer, "val_check_interval", None), trainer.check_val_every_n_epoch
    if not isinstance(interval, int | float):
        return 0
    whole = trainer.accumulate_grad_batches
    due = interval if isinstance(interval, int) else int(epoch * interval)
    due = max(1, due // whole) * whole  # as `WholeSteps` moves it
    if every is None:
        return due
    return math.inf if due > epoch else (every - 1) * epoch + due


def _told(trainer: pl.Trainer, *names: str) -> str:
    return ", ".join(f"{name} {getattr(trainer, name)}" for name in names)
