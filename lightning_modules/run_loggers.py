"""Where a run's metrics go: metrics.csv, and W&B or loggers of the user's own."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

from callbacks import MetricsCSV
from callbacks.wandb_run import ID_FILE, WandbRun
from datamodules.errors import InputError
from lightning_modules.earlier_runs import goes_on
from lightning_modules.wandb_settings import choose


def run_loggers(subcommand: str, config: Mapping[str, Any]) -> list[Logger]:
    """Return the loggers of a command; none where `trainer.logger` is false.

    Args:
        subcommand: `fit`, `validate`, `test` or `predict`.
        config: Its settings, with classes instantiated.

    Raises:
        InputError: A logger of the user's own would write over metrics.csv, or W&B's environment is wrong.
    """
    trainer = config["trainer"]
    folder, given = trainer["default_root_dir"], trainer["logger"]
    if given is False:
        return []
    if given not in (None, True):
        loggers = list(given) if isinstance(given, list) else [given]
        require_other_place(loggers, Path(folder))
        has_metrics = any(isinstance(logger, MetricsCSV) for logger in loggers)
        return loggers if has_metrics else [*loggers, MetricsCSV(folder)]
    # A prediction logs nothing, and an empty offline segment would hide the training's from `wandb leet`.
    if subcommand == "predict" or trainer["fast_dev_run"]:
        return [MetricsCSV(folder)]
    settings = choose(config["wandb"], os.environ, "-".join(Path(folder).parts[-2:]))
    if settings.mode == "disabled":
        return [MetricsCSV(folder)]
    training, start = subcommand == "fit", config["ckpt_path"]
    run_id = wandb_run_id(Path(folder), Path(start) if start else None, training)
    return [
        MetricsCSV(folder),
        WandbRun(folder, run_id, settings.mode, settings.project, settings.name, training),
    ]


def wandb_run_id(folder: Path, start: Path | None, training: bool) -> str:
    """Return the id beside a run's checkpoints, so that a resume, a test and a prediction belong to the run.

    Args:
        folder: The run's folder.
        start: The checkpoint that is given, if any.
        training: Whether this is a fit, which begins a run of its own unless it goes on with the folder's.
    """
    path = folder / ID_FILE
    if path.is_file() and (goes_on(folder, start) or not training):
        return path.read_text()
    return secrets.token_hex(4)


def require_other_place(loggers: list[Logger], folder: Path) -> None:
    """Refuse Lightning's CSV logger where it would write over the run's own metrics.csv.

    Raises:
        InputError: It logs into the run's folder itself.
    """
    for logger in loggers:
        if isinstance(logger, CSVLogger) and Path(logger.log_dir).resolve() == folder.resolve():
            raise InputError(
                f"trainer.logger writes a metrics.csv into {folder}, which has one of its own: leave it out, or give "
                "it another save_dir, name or version"
            )
