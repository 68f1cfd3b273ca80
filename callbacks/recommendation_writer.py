"""Recommendations as one Parquet file, whatever the number of processes."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pyarrow as pa

from callbacks.parquet_file import ResultWriter
from callbacks.ranks import of_all_ranks
from datamodules.errors import InputError
from lightning_modules.recommender import LanguageModelRecommender

# Row in the histories, items and scores of a user.
_Best = tuple[int, list[int], list[float]]


class RecommendationWriter(ResultWriter):
    """Writes `recommendations.parquet`: one row per user, in the order of the histories.

    Columns: `user`, `items` (their names in the catalogue, best first), `titles` and `scores` (in the same order). The
    schema's metadata name the checkpoint, see `callbacks.parquet_file`. Nothing is written in a `fast_dev_run`.

    Args:
        folder: Where the file goes.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._path = Path(folder) / "recommendations.parquet"
        self._rows: list[_Best] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuses a module that knows items by number."""
        if not isinstance(pl_module, LanguageModelRecommender):
            raise InputError(
                f"recommending needs a language model and {type(pl_module).__name__} knows only the items that it was "
                "trained on: predict with its own data"
            )

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps what a batch returned."""
        columns = (outputs[name].tolist() for name in ("row", "items", "scores"))
        self._rows += zip(*columns, strict=True)

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gathers all ranks' rows and writes them."""
        rows = sorted(row for part in of_all_ranks(self._rows) for row in part)
        self._rows = []
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        data = trainer.datamodule
        table = _table(rows, data.histories.users, data.items.names, data.items.titles)
        self.write(table, self._path, trainer)
        pl_module.print(f"wrote recommendations for {len(rows)} users to {self._path}")


def _table(rows: list[_Best], users: list[str], names: list[str], titles: list[str]) -> pa.Table:
    found = [[item for item in items if item >= 0] for _, items, _ in rows]
    return pa.table(
        {
            "user": [users[row] for row, *_ in rows],
            "items": [[names[item] for item in items] for items in found],
            "titles": [[titles[item] for item in items] for items in found],
            "scores": [scores[: len(items)] for items, (*_, scores) in zip(found, rows, strict=True)],
        }
    )
