"""The checkpoint to resume from."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt` up to date, always whole.

    Where a validation follows a step, the checkpoint is written after it: Lightning skips that validation on resume,
    and its line in the log and its best checkpoint would be missing. The file is written beside its place, flushed and
    renamed, so a kill at any moment leaves a whole one.

    Args:
        dirpath: Folder of the checkpoints; the CLI sets the run's.
        every_n_train_steps: Most steps that a crash can lose.
    """

    def __init__(self, dirpath: str | None = None, every_n_train_steps: int = 50) -> None:
        if every_n_train_steps < 1:
            raise ValueError(f"every_n_train_steps={every_n_train_steps} must be at least 1")
        self.dirpath = dirpath
        self.every_n_train_steps = every_n_train_steps
        self._saved = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The step that training starts from needs no saving."""
        self._saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves after every n-th step, unless a validation comes first."""
        loop = trainer.fit_loop.epoch_loop
        if not loop._should_check_val_fx(trainer.fit_loop._data_fetcher):
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves what had to wait for the validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save_if_due(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the end of training."""
        if trainer.global_step > self._saved:
            self._save(trainer)

    def _save_if_due(self, trainer: pl.Trainer) -> None:
        if trainer.global_step > self._saved and trainer.global_step % self.every_n_train_steps == 0:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        path = Path(self.dirpath or trainer.default_root_dir) / "last.ckpt"
        temporary = path.with_suffix(".tmp")
        self._saved = trainer.global_step
        trainer.save_checkpoint(temporary, weights_only=False)
        if trainer.is_global_zero:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
