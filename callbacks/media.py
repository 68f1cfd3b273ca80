"""Pictures and tables, which W&B shows and metrics.csv has no place for."""

from typing import Any

import lightning.pytorch as pl

from callbacks.wandb_run import WandbRun


def wandb_runs(trainer: pl.Trainer) -> list[WandbRun]:
    """The W&B loggers of a trainer, alike on every process; where there are none, media need not be made."""
    return [logger for logger in trainer.loggers if isinstance(logger, WandbRun)]


def log_media(trainer: pl.Trainer, media: dict[str, Any]) -> None:
    """Adds media to the line of the step just completed."""
    for logger in wandb_runs(trainer):
        logger.log_metrics(media, step=trainer.global_step - 1)
