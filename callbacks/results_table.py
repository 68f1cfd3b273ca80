"""The result of `validate` and `test`, for a person at a terminal."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from callbacks.held_out import HeldOut
from datamodules.user_bootstrap import bootstrap_interval
from lightning_modules.ranking import rank_metrics


class ResultsTable(pl.Callback):
    """Print every metric to four digits, those of the ranking with a 95 % interval.

    Examples of one user are dependent, so that users are resampled, as in the tables of `study`. Lightning's own table
    has sixteen digits and no interval.
    """

    def __init__(self) -> None:
        self._batches: list[Mapping[str, Tensor]] = []
        self._ranks: HeldOut | None = None

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Keep the ranks."""
        self._batches.append(outputs)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Keep the ranks."""
        self._batches.append(outputs)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather the ranks of all processes."""
        self._ranks, self._batches = HeldOut.gather(self._batches), []

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather the ranks of all processes."""
        self._ranks, self._batches = HeldOut.gather(self._batches), []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the table under the bar."""
        self._print(trainer, pl_module, "val/")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the table under the bar."""
        self._print(trainer, pl_module, "test/")

    def _print(self, trainer: pl.Trainer, pl_module: pl.LightningModule, prefix: str) -> None:
        if not trainer.is_global_zero or self._ranks is None:
            return
        metrics = {
            name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith(prefix)
        }
        pl_module.print(_table(metrics, self._ranks, prefix, trainer.datamodule.store.users))


def _table(metrics: dict[str, float], ranks: HeldOut, prefix: str, users: list[str]) -> str:
    names = np.array(users)[ranks.user]
    several = len(np.unique(names)) > 1  # one user says nothing of others
    values = rank_metrics(torch.from_numpy(ranks.rank).double()) if several else {}
    intervals = {
        f"{prefix}{name}": bootstrap_interval(value.numpy(), names, seed=0) for name, value in values.items()
    }
    width = max(map(len, metrics), default=0)
    head = f"{len(names)} examples of {len(np.unique(names))} user{'s' if several else ''}"
    lines = [f"{head}; 95 % intervals, users resampled" if several else head]
    for name, value in sorted(metrics.items()):
        interval = "  [{:.4f}, {:.4f}]".format(*intervals[name]) if name in intervals else ""
        lines.append(f"{name.ljust(width)}  {value:.4f}{interval}")
    return "\n".join(lines)
