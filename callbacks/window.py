"""Sums over the steps between two log lines, counted on the device and over all ranks."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from callbacks.ranks import of_all_ranks, of_this_rank


class Window:
    """Weighted means, minima and maxima since the last `reduce`, without a host sync until then.

    A mean over ranks of per-rank shares is wrong where ranks count differently, so totals and counts are summed
    over ranks and divided at the end.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._extremes: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor, where: Tensor | None = None) -> None:
        """Adds to the mean of `name`.

        Args:
            name: The metric.
            values: Any shape.
            where: True (or a weight) where a value counts; None counts all.
        """
        weight = torch.ones_like(values) if where is None else where.to(values.dtype)
        # `where`, not a product: a value that does not count may be infinite.
        total = torch.where(weight > 0, values * weight, 0.0).sum(dtype=torch.float64)
        pair = torch.stack([total, weight.sum(dtype=torch.float64)])
        self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def add_minimum(self, name: str, values: Tensor, where: Tensor) -> None:
        """Adds to the minimum of `name`."""
        self._add_extreme(name, torch.where(where, values, torch.inf).min().double())

    def add_maximum(self, name: str, values: Tensor, where: Tensor) -> None:
        """Adds to the maximum of `name`, which is kept as the minimum of the negated values."""
        self._add_extreme(f"-{name}", torch.where(where, -values, torch.inf).min().double())

    def _add_extreme(self, key: str, value: Tensor) -> None:
        self._extremes[key] = torch.minimum(self._extremes[key], value) if key in self._extremes else value

    def reduce(self, trainer: pl.Trainer) -> dict[str, float]:
        """Reduces over all ranks, empties the window and returns the metrics; nothing that was not counted."""
        metrics = {}
        if self._sums:
            sums = trainer.strategy.reduce(torch.stack(list(self._sums.values())), reduce_op="sum").tolist()
            metrics = {
                name: total / count for name, (total, count) in zip(self._sums, sums, strict=True) if count
            }
        if self._extremes:
            low = trainer.strategy.reduce(
                torch.stack(list(self._extremes.values())), reduce_op="min"
            ).tolist()
            for key, value in zip(self._extremes, low, strict=True):
                if value != float("inf"):
                    metrics[key.removeprefix("-")] = -value if key.startswith("-") else value
        self._sums.clear()
        self._extremes.clear()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers of every process, so that a resumed run logs what the uninterrupted one does."""
        own = {
            "sums": {name: pair.tolist() for name, pair in self._sums.items()},
            "extremes": {key: value.item() for key, value in self._extremes.items()},
        }
        return {"ranks": of_all_ranks(own)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restores what `state_dict` said."""
        self._sums.clear()
        self._extremes.clear()
        for own in of_this_rank(state["ranks"]):
            for name, numbers in own["sums"].items():
                pair = torch.tensor(numbers, dtype=torch.float64, device=device)
                self._sums[name] = self._sums[name] + pair if name in self._sums else pair
            for key, number in own["extremes"].items():
                self._add_extreme(key, torch.tensor(number, dtype=torch.float64, device=device))


class StepCounter:
    """Tells the batch that completed an optimiser step from one that only accumulated."""

    def __init__(self) -> None:
        self.completed = 0

    def start(self, trainer: pl.Trainer) -> None:
        """Call at the start of training: the steps so far are not this batch's."""
        self.completed = trainer.global_step

    def stepped(self, trainer: pl.Trainer) -> bool:
        """Whether this batch ended a step; ask once a batch."""
        stepped = trainer.global_step > self.completed
        self.completed = trainer.global_step
        return stepped

    def logs_now(self, trainer: pl.Trainer) -> bool:
        """Whether this batch ended a step after which Lightning writes to its loggers; ask once a batch."""
        return self.stepped(trainer) and trainer.global_step % trainer.log_every_n_steps == 0


def log_now(trainer: pl.Trainer, pl_module: pl.LightningModule, metrics: Mapping[str, float]) -> None:
    """Writes metrics of the step just completed to every logger, and shows them to other callbacks.

    Lightning writes what `self.log` was given after the checkpoint callbacks have run; a run killed in between would
    resume without that line. Writing here puts the line before the checkpoint.

    Args:
        trainer: The trainer.
        pl_module: The module that is trained.
        metrics: Values that are already global.
    """
    if not metrics:
        return
    pl_module.log_dict(dict(metrics), logger=False, on_step=True, on_epoch=False, batch_size=1)
    for logger in trainer.loggers:
        logger.log_metrics(dict(metrics), step=trainer.global_step - 1)
