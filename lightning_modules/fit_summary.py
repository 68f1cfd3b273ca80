"""What is printed when training has ended: why it ended, what was best, where everything is and what to run next."""

import shlex
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, Timer

from callbacks import BestCheckpoint, CollapseAlarm, MetricsCSV
from callbacks.media import wandb_runs
from lightning_modules.run_record import RunRecord

_NO_CHECKPOINTS = "none, since trainer.enable_checkpointing is false"
_NOT_VALIDATED = "none, since trainer.limit_val_batches is 0"
_NO_BEST = "none, since no validation ran; a smaller trainer.val_check_interval brings one"


def fit_summary(trainer: pl.Trainer, arguments: list[str]) -> str:
    """Describe a training that ended normally.

    Args:
        trainer: After `fit`.
        arguments: Of the command line, from which the command to run next is made.

    Returns:
        A few lines.
    """
    folder = Path(trainer.default_root_dir)
    best = next((c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint)), None)
    has_best = best is not None and Path(best.best_model_path).is_file()
    name = "best" if has_best else "last"
    saves = bool(trainer.checkpoint_callbacks)
    none = (_NOT_VALIDATED if trainer.limit_val_batches == 0 else _NO_BEST) if saves else _NO_CHECKPOINTS
    curves = ["metrics.csv"] if any(isinstance(logger, MetricsCSV) for logger in trainer.loggers) else []
    files = [*([f"checkpoints/{name}.ckpt"] if saves else []), *curves]
    lines = [
        f"training ended after step {trainer.global_step}: {_reason(trainer)}",
        f"best:   {_best(best) if best is not None and has_best else none}",
        f"files:  {folder}: {', '.join(files)}",
        *(f"W&B:    {run.viewer}" for run in wandb_runs(trainer) if run.viewer),
        *([f"next:   {_command(arguments, name)}"] if saves else []),
    ]
    return "\n".join(lines)


def _best(checkpoint: BestCheckpoint) -> str:
    # Mapped into memory, so that the weights, which may be large, are not read.
    best = torch.load(checkpoint.best_model_path, map_location="cpu", weights_only=True, mmap=True)
    return f"step {best['global_step']}, {checkpoint.monitor} {checkpoint.best_model_score:.4f}"


def _reason(trainer: pl.Trainer) -> str:
    if any(isinstance(callback, RunRecord) and not callback.begun for callback in trainer.callbacks):
        return "there was nothing left to train; a larger trainer.max_steps or trainer.max_epochs goes on"
    if 0 <= trainer.max_steps <= trainer.global_step:
        return f"trainer.max_steps {trainer.max_steps} reached"
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch:
        return f"trainer.max_epochs {trainer.max_epochs} reached"
    for callback in trainer.callbacks if trainer.should_stop else ():
        if isinstance(callback, CollapseAlarm) and callback.stopped:
            return "CollapseAlarm stopped it"
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message is not None:
            return f"EarlyStopping stopped it. {callback.stopping_reason_message.partition(' Signaling')[0]}"
        if isinstance(callback, Timer) and (callback.time_remaining() or 0) <= 0:
            return "trainer.max_time is over"
    return "a callback stopped it" if trainer.should_stop else "there is nothing to train on"


def _command(arguments: list[str], checkpoint: str) -> str:
    """Turn `fit` into `test` of a checkpoint, with every other argument as it was: data and model must be the same."""
    words: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word == "--ckpt_path":
            skip = True
        elif not word.startswith("--ckpt_path="):
            words.append(word)
    if "fit" in words:  # it may have been called from Python with settings in place of words
        words[words.index("fit")] = "test"
    return shlex.join(["python", "train.py", *words, "--ckpt_path", checkpoint])
