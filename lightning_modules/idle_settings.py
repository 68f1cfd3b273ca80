"""Settings that Lightning takes and that would do nothing here, or break what a run relies on."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from datamodules.errors import InputError


def require_effective(trainer: Mapping[str, Any], best: Mapping[str, Any]) -> None:
    """Refuse settings that would be ignored without a word, or that cannot be.

    Args:
        trainer: Settings of the trainer.
        best: Settings of the best checkpoint.

    Raises:
        InputError: The setting, and what to do instead.
    """
    for refusal in (*_of_trainer(trainer), *_of_best(best)):
        raise InputError(refusal)


def _of_trainer(trainer: Mapping[str, Any]) -> Iterator[str]:
    if trainer["use_distributed_sampler"]:
        yield (
            "trainer.use_distributed_sampler is true: Lightning's sampler would train in an order that cannot be "
            "resumed and evaluate examples twice; leave it out, the data know the processes"
        )
    if trainer["reload_dataloaders_every_n_epochs"]:
        yield (
            f"trainer.reload_dataloaders_every_n_epochs is {trainer['reload_dataloaders_every_n_epochs']}: every epoch "
            "has fresh negatives and another order without it; leave it out"
        )
    if trainer["gradient_clip_algorithm"] is not None and not trainer["gradient_clip_val"]:
        yield (
            f"trainer.gradient_clip_algorithm is {trainer['gradient_clip_algorithm']!r} and nothing would be clipped: "
            "set trainer.gradient_clip_val, too, or leave it out"
        )
    for name in ("accumulate_grad_batches", "log_every_n_steps", "check_val_every_n_epoch"):
        if trainer[name] is not None and trainer[name] < 1:
            yield f"trainer.{name} is {trainer[name]}: it must be at least 1"
    clip = trainer["gradient_clip_val"]
    if clip is not None and not clip >= 0:  # what is not a number is not, either
        yield f"trainer.gradient_clip_val is {clip}: it must not be negative; 0 clips nothing"
    for name in ("max_time", "val_check_interval"):
        if _is_no_time(trainer[name]):
            yield f"trainer.{name} is {trainer[name]}: it must be more than 0"


def _is_no_time(interval: Any) -> bool:
    """Return whether a length of time, or a number of batches, is 0 or less."""
    if isinstance(interval, Mapping):
        interval = timedelta(**interval)
    return (
        interval <= timedelta(0)
        if isinstance(interval, timedelta)
        else interval == 0 and type(interval) is int
    )


def _of_best(best: Mapping[str, Any]) -> Iterator[str]:
    """Find what would keep the best weights from being in `best.ckpt`, where test and stage 2 look for them."""
    if not best["monitor"]:
        shown = "null" if best["monitor"] is None else "empty"
        yield (
            f"best_checkpoint.monitor is {shown}: name the metric by which a validation is the best, as "
            "val/hit_ratio@1"
        )
    fixed = {"filename": "best", "save_top_k": 1, "enable_version_counter": False}
    for name, value in fixed.items():
        if best[name] != value:
            yield (
                f"best_checkpoint.{name} is {best[name]!r}: the best weights would not be in best.ckpt alone, where "
                f"--ckpt_path best looks for them; leave it {value!r}"
            )
    if best["save_last"]:
        yield "best_checkpoint.save_last is set: last.ckpt is that of last_checkpoint; leave it out"
    for name in ("every_n_train_steps", "train_time_interval"):
        if best[name] not in (None, 0):
            yield (
                f"best_checkpoint.{name} is {best[name]}: between validations nothing is the best; set "
                "trainer.val_check_interval, or last_checkpoint.every_n_train_steps for a checkpoint to resume from"
            )
