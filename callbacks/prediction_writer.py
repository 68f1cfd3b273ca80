"""Predictions as one Parquet file, whatever the number of processes."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from callbacks.parquet_file import ResultWriter
from callbacks.ranks import of_all_ranks
from datamodules.errors import InputError
from lightning_modules.exact import is_part


class PredictionWriter(ResultWriter):
    """Writes `predictions.parquet`: one row per example, candidates ranked best first.

    Columns: `id`, `user` (the source's id), `target` (title), `rank` of the target (1 is best), `candidates` (titles,
    best first; examples may have different numbers of them), `scores` (in the same order). The schema's metadata name
    the checkpoint, see `callbacks.parquet_file`. Nothing is written in a `fast_dev_run`.

    Args:
        folder: Where the file goes.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._path = Path(folder) / "predictions.parquet"
        self._batches: list[dict[str, np.ndarray]] = []

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
        self._batches.append(
            {
                name: value.float().numpy(force=True) if name == "scores" else value.numpy(force=True)
                for name, value in outputs.items()
            }
        )

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gathers all ranks' rows and writes them in the order of their ids."""
        batches = [batch for part in of_all_ranks(self._batches) for batch in part]
        self._batches = []
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        store = trainer.datamodule.store
        table = _table(batches, store.titles, store.users)
        _require_every_example(table, trainer)
        self.write(table, self._path, trainer)
        pl_module.print(f"wrote {table.num_rows} rows to {self._path}")


def _require_every_example(table: pa.Table, trainer: pl.Trainer) -> None:
    found, distinct = table.num_rows, len(pc.unique(table["id"]))
    expected = len(trainer.predict_dataloaders.dataset)
    if is_part(trainer.limit_predict_batches):
        expected = distinct
    if not found == distinct == expected:
        raise InputError(
            f"{found} predictions of {distinct} examples, and there are {expected}: leave "
            "trainer.use_distributed_sampler false; if it is, report this as a bug"
        )


def _table(batches: list[dict[str, np.ndarray]], titles: list[str], users: list[str]) -> pa.Table:
    """Makes the rows of all batches, sorted by id."""
    return pa.concat_tables([_rows(batch, titles, users) for batch in batches]).sort_by("id")


def _rows(batch: dict[str, np.ndarray], titles: list[str], users: list[str]) -> pa.Table:
    """Ranks the candidates of a batch, of which every example has equally many."""
    order = np.argsort(-batch["scores"], axis=1, kind="stable")
    items, scores = (np.take_along_axis(batch[name], order, axis=1) for name in ("items", "scores"))
    positive = batch["positive"]
    return pa.table(
        {
            "id": batch["id"],
            "user": [users[index] for index in batch["user"]],
            "target": [titles[index] for index in positive],
            "rank": 1 + np.argmax(items == positive[:, None], axis=1),
            "candidates": [[titles[index] for index in row] for row in items],
            "scores": scores.tolist(),
        }
    )
