"""Modes of Lightning's Trainer: which of them a run cannot have, and which of them leave something out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from datamodules.errors import InputError

_LIMIT = {
    "fit": "limit_train_batches",
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
    "predict": "limit_predict_batches",
}


def require_modes(subcommand: str, trainer: Mapping[str, Any], resumed: bool) -> None:
    """Refuse a mode in which a command would do nothing, or other than what the mode says.

    Args:
        subcommand: `fit`, `validate`, `test` or `predict`.
        trainer: The trainer's settings.
        resumed: Whether a checkpoint is given.

    Raises:
        InputError: The mode, and what to do instead.
    """
    for refusal in _refusals(subcommand, trainer, resumed):
        raise InputError(refusal)


def _refusals(subcommand: str, trainer: Mapping[str, Any], resumed: bool) -> Iterator[str]:
    if trainer["barebones"]:
        yield (
            "trainer.barebones leaves out the checkpoints and metrics that every run has: to try a run out use "
            "trainer.fast_dev_run, to measure its speed callbacks.Throughput"
        )
    if trainer["accelerator"] in ("gpu", "cuda") and not _has_gpu(trainer["accelerator"]):
        yield (
            f"trainer.accelerator is {trainer['accelerator']} and torch finds none on this machine: set cpu, or auto, "
            "which takes what there is"
        )
    if trainer["overfit_batches"]:
        yield (
            f"trainer.overfit_batches {trainer['overfit_batches']} replaces the sampler that draws this project's "
            "batches: to overfit, give data.source a few rows; for a short run, use trainer.limit_train_batches"
        )
    idle = [_LIMIT[subcommand], *(("max_steps", "max_epochs") if subcommand == "fit" else ())]
    for name in idle:
        if trainer[name] == 0 and trainer[name] is not False:
            yield f"trainer.{name} is 0, so that {subcommand} would do nothing: leave it out or raise it"
    if subcommand == "fit" and trainer["fast_dev_run"] and resumed:
        yield "trainer.fast_dev_run tries out the first batches of a training: leave --ckpt_path out"


def _has_gpu(accelerator: str) -> bool:
    return torch.cuda.is_available() or (accelerator == "gpu" and torch.backends.mps.is_available())


def left_out(subcommand: str, trainer: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Say what a run leaves out, in a line for each mode.

    Args:
        subcommand: `fit`, `validate`, `test` or `predict`.
        trainer: The trainer's settings.
        folder: The run's.
    """
    if trainer["fast_dev_run"]:
        yield f"trainer.fast_dev_run: nothing is written into {folder}"
        return
    logger = trainer["logger"]
    if logger is False:
        yield "trainer.logger is false: no metrics.csv and no W&B, so that study.report cannot read this run"
    elif logger not in (None, True):
        yield "trainer.logger is given: it takes the place of W&B; metrics.csv is written all the same"
    if subcommand != "fit":
        return
    if trainer["enable_checkpointing"] is False:
        yield (
            "trainer.enable_checkpointing is false: no checkpoint is written, so that this run can be neither resumed "
            "nor tested"
        )
    elif trainer["limit_val_batches"] is not None and trainer["limit_val_batches"] == 0:
        yield (
            "trainer.limit_val_batches is 0: without a validation there is no best.ckpt; test and predict with "
            "--ckpt_path last"
        )
