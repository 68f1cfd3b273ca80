"""The checkpoint to resume from."""

from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from callbacks.termination import StopRequest, leave
from datamodules.checks import require_at_least
from datamodules.errors import InputError
from lightning_modules.checkpoint_files import LAST, CheckpointFiles, can_be_resumed


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt` up to date, always whole, and the one before it as `previous.ckpt`.

    Where a validation follows a step, the checkpoint is written after it: Lightning skips that validation on resume,
    and its line in the log and its best checkpoint would be missing. On Ctrl-C, when the terminal is closed, on SIGTERM
    and on SIGUSR1 the step in hand and a validation that is due are finished, `last.ckpt` is written, and the run ends
    with status 130, 129, 143 and 143.

    Args:
        dirpath: Folder of the checkpoints; the CLI sets the run's.
        every_n_train_steps: Most steps that a crash can lose.
        on_write_error: When a checkpoint, the best one included, cannot be written (full disk): `warn` trains on and
            tries again when the next one is due, `stop` ends the run with status 2. At the end of training it is an
            error either way.
    """

    def __init__(
        self,
        dirpath: str | None = None,
        every_n_train_steps: int = 50,
        on_write_error: Literal["warn", "stop"] = "warn",
    ) -> None:
        require_at_least(1, every_n_train_steps=every_n_train_steps)
        self.dirpath = dirpath
        self.every_n_train_steps = every_n_train_steps
        self.on_write_error = on_write_error
        self._saved = 0
        self._seen = 0
        self._stop = StopRequest()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The step that training starts from needs no saving.

        Raises:
            InputError: The folder of the checkpoints could not be made.
        """
        folder = Path(self._folder(trainer))
        if folder.exists() and not folder.is_dir():  # on every process, so that all of them end
            raise InputError(
                f"{folder} is a file and checkpoints go there: move it, or name another folder for the run"
            )
        self._saved = self._seen = trainer.global_step
        self._stop.listen()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves after every n-th step, unless a validation comes first."""
        stepped, self._seen = trainer.global_step > self._seen, trainer.global_step
        loop = trainer.fit_loop.epoch_loop
        if stepped and not loop._should_check_val_fx(trainer.fit_loop._data_fetcher):
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves what had to wait for the validation, after which the best checkpoint was written."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._require_written(trainer)
            self._save_if_due(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the end of training.

        Raises:
            InputError: It cannot be written.
        """
        if trainer.global_step > self._saved:
            self._save(trainer)
        if trainer.global_step > self._saved:
            raise self._unwritable(trainer)

    def _save_if_due(self, trainer: pl.Trainer) -> None:
        status = self._stop.heard(trainer)
        due = status or trainer.global_step % self.every_n_train_steps == 0
        if due and trainer.global_step > self._saved:
            self._save(trainer)
        if status:
            trainer.lightning_module.print(
                f"asked to stop after step {trainer.global_step}: {self._way_on(trainer)}"
            )
            leave(trainer, status)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(Path(self._folder(trainer)) / LAST, weights_only=False)
        if self._require_written(trainer):
            self._saved = trainer.global_step

    def _require_written(self, trainer: pl.Trainer) -> bool:
        """Whether everything since the last call could be written; raises where that is asked for."""
        files = trainer.strategy.checkpoint_io
        if not isinstance(files, CheckpointFiles):
            return True
        # Only the first process writes, and all have to go on or stop together.
        written = bool(trainer.strategy.broadcast(files.failure is None))
        files.failure = None
        if not written and self.on_write_error == "stop":
            raise self._unwritable(trainer)
        return written

    def _folder(self, trainer: pl.Trainer) -> str:
        return self.dirpath or trainer.default_root_dir

    def can_be_resumed(self, trainer: pl.Trainer) -> bool:
        """Returns whether `--ckpt_path last` finds a checkpoint of this run."""
        return can_be_resumed(Path(self._folder(trainer)))

    def _way_on(self, trainer: pl.Trainer) -> str:
        if not self.can_be_resumed(trainer):
            return "no checkpoint could be written, start over"
        saved = (
            ""
            if self._saved == trainer.global_step
            else f", from step {self._saved}, the last that could be saved"
        )
        return f"go on with --ckpt_path last{saved}"

    def _unwritable(self, trainer: pl.Trainer) -> InputError:
        way_on = "go on with --ckpt_path last" if self.can_be_resumed(trainer) else "start over"
        return InputError(
            f"a checkpoint of step {trainer.global_step} cannot be written to {self._folder(trainer)}: free some space "
            f"there and {way_on}"
        )
