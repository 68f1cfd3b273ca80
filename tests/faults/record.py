"""A callback that only the fault suite uses: it writes down what a run trains on, and lets a fault happen."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from tests.faults.points import AtCall, Fault


class Recorder(pl.Callback):
    """Appends the example ids of every batch to `samples-RANK.jsonl` in the run's folder.

    Args:
        fault: What is to happen; None lets the run be.
        rank: To which process.
    """

    def __init__(self, fault: Fault | None = None, rank: int = 0) -> None:
        self._fault = fault or Fault()
        self._rank = rank

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_rank != self._rank:
            self._fault = Fault()
        self._path = Path(trainer.default_root_dir) / f"samples-{trainer.global_rank}.jsonl"
        self._write({"started": trainer.global_step})
        self._fault.arm()

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        self._write({"step": trainer.global_step, "ids": batch.id.tolist(), "items": batch.items.tolist()})
        self._fault.reached("train batch")

    def on_after_backward(self, *_: Any) -> None:
        self._fault.reached("backward")

    def on_train_batch_end(self, *_: Any) -> None:
        self._fault.reached("step")

    def on_validation_batch_start(self, *_: Any) -> None:
        self._fault.reached("validation batch")

    def on_validation_end(self, *_: Any) -> None:
        self._fault.reached("validation end")

    def on_save_checkpoint(self, *_: Any) -> None:
        self._fault.reached("checkpoint")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._fault.reached("train end")
        if isinstance(self._fault, AtCall):
            self._write({"calls": self._fault.calls})

    def _write(self, entry: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


class FullDisk(pl.Callback):
    """Puts a full device in the way of every checkpoint, between two steps of the first process."""

    def __init__(self, from_step: int, to_step: int) -> None:
        self._full = range(from_step, to_step)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if not trainer.is_global_zero:
            return
        for name in ("last.tmp", "best.tmp"):
            path = Path(trainer.default_root_dir) / "checkpoints" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if trainer.global_step in self._full:
                path.symlink_to("/dev/full")  # answers every write with ENOSPC
