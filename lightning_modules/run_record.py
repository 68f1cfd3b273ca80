"""What a run's folder says of the run: `config.yaml`, and the settings and the place in metrics.csv in a checkpoint."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.cli import SaveConfigCallback

from callbacks import MetricsCSV
from callbacks.wandb_run import WandbRun
from lightning_modules.earlier_runs import make_room

# The first line of a saved configuration tells it from one that a user wrote.
_SAVED = "# Saved by train.py"
_HEADER = f"""{_SAVED}: the settings of the run in this folder, every default written out.
# To run them again: python train.py fit --config THIS_FILE --trainer.default_root_dir ANOTHER_FOLDER
"""

# What was asked of one command is no setting of the run; where the run is follows from where the file is.
_OF_THE_COMMAND = ("ckpt_path", "weights_only", "verbose", "return_predictions")
_OF_THE_PLACE = ("trainer.default_root_dir", "best_checkpoint.dirpath", "last_checkpoint.dirpath")


def is_saved_config(path: Path) -> bool:
    """Return whether a file is the `config.yaml` that a run saved in its folder."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().startswith(_SAVED)
    except (OSError, UnicodeDecodeError):
        return False


class RunRecord(SaveConfigCallback):
    """Keeps what a run was: `config.yaml`, the settings inside every checkpoint, and metrics.csv in step with it.

    Nothing in the folder changes before the first batch of training, or the start of an evaluation: by then everything
    that a start can be refused for has been checked, on every process.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, overwrite=True, save_to_log_dir=False, **kwargs)
        self._num_lines: int | None = None
        self._saved_rate: float | None = None
        self._begun = False

    @property
    def begun(self) -> bool:
        """Whether a batch was trained on or evaluated; False where a resumed run had nothing left."""
        return self._begun

    @cached_property
    def plain_config(self) -> dict[str, Any]:
        """The whole configuration in plain types; a dump takes a quarter of a second, so once a run."""
        dump: dict[str, Any] = yaml.safe_load(
            self.parser.dump(self.config, skip_none=False, skip_link_targets=False)
        )
        return dump

    def computed_settings(self) -> dict[str, Any]:
        """Return what decides the result: `model` and `data`."""
        return {part: self.plain_config[part] for part in ("model", "data")}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Save nothing yet, other than Lightning's own callback."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say where a resumed run goes on."""
        if self._num_lines is not None:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            of = "from the checkpoint" if rate == self._saved_rate else "of the schedule of the new length"
            pl_module.print(f"resumed after step {trainer.global_step}; learning rate {rate:g}, {of}")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin the record at the first batch."""
        self._begin(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the record, where a resumed run has only the end of an epoch left."""
        self._begin(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the record, where a resumed run starts with a validation, or of `validate`."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._begin(trainer)
        elif trainer.state.fn != "fit":
            self._begin_evaluation(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the record of `test`."""
        self._begin_evaluation(trainer)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the record of `predict`."""
        self._begin_evaluation(trainer)

    def _begin(self, trainer: pl.Trainer) -> None:
        """Move an earlier run aside, save the settings, cut metrics.csv where the checkpoint was written."""
        if self._begun:
            return
        self._begun = True
        trainer.strategy.barrier()  # a process that refuses to start ends before it
        if not trainer.is_global_zero:
            return
        start = self.config.ckpt_path
        make_room(Path(trainer.default_root_dir), Path(start) if start else None)
        self.save_config(trainer, trainer.lightning_module, str(trainer.state.fn))
        if self._num_lines is None:
            return
        for logger in _csv_loggers(trainer):
            logger.keep(self._num_lines)
            for other in trainer.loggers:
                if isinstance(other, WandbRun):
                    other.resume(logger.lines())

    def _begin_evaluation(self, trainer: pl.Trainer) -> None:
        """Save the settings, unless the folder holds those that the checkpoint was trained with."""
        if not trainer.is_global_zero or self._begun:
            return
        self._begun = True
        is_trained = self.config.ckpt_path is not None
        if is_trained and (Path(trainer.default_root_dir) / self.config_filename).exists():
            self._tell_loggers(trainer)
        else:
            self.save_config(trainer, trainer.lightning_module, str(trainer.state.fn))

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write `config.yaml` in one step and tell the loggers."""
        settings = self.config.clone()
        for name in _OF_THE_COMMAND:
            settings.pop(name, None)
        for name in _OF_THE_PLACE:
            settings[name] = None
        text = self.parser.dump(settings, skip_none=False, skip_validation=True)
        path = Path(trainer.default_root_dir) / self.config_filename
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".tmp")
        aside.write_text(_HEADER + text, encoding="utf-8")
        os.replace(aside, path)
        self._tell_loggers(trainer)

    def _tell_loggers(self, trainer: pl.Trainer) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(self.plain_config)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the settings, and how many lines metrics.csv has; without it, as many as the last checkpoint says."""
        checkpoint["config"] = self.computed_settings()
        checkpoint["metrics_lines"] = 0
        if trainer.is_global_zero:
            lines = [logger.num_lines() for logger in _csv_loggers(trainer)]
            checkpoint["metrics_lines"] = max(lines, default=self._num_lines or 0)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Learn where metrics.csv stood."""
        if trainer.training:
            self._num_lines = checkpoint["metrics_lines"]
            self._saved_rate = checkpoint["optimizer_states"][0]["param_groups"][0]["lr"]


def _csv_loggers(trainer: pl.Trainer) -> list[MetricsCSV]:
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsCSV)]
