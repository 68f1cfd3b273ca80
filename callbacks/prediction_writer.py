"""Predictions as one Parquet file, whatever the number of processes."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch.distributed as dist

from datamodules.errors import InputError


class PredictionWriter(pl.Callback):
    """Writes `predictions.parquet`: one row per example, candidates ranked best first.

    Columns: `id`, `user` (the source's id), `target` (title), `rank` of the target (1 is best), `candidates` (titles,
    best first), `scores` (in the same order).

    Args:
        folder: Where the file goes.
    """

    def __init__(self, folder: str) -> None:
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
        batches = _gather(self._batches, trainer)
        self._batches = []
        if not trainer.is_global_zero:
            return
        rows = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        expected = len(trainer.predict_dataloaders.dataset)
        if len(np.unique(rows["id"])) != expected or len(rows["id"]) != expected:
            raise InputError(f"{len(rows['id'])} predictions for {expected} examples: report this as a bug")
        store = trainer.datamodule.store
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        pq.write_table(_table(rows, store.titles, store.users), temporary)
        temporary.rename(self._path)
        print(f"wrote {expected} rows to {self._path}")


def _gather(batches: list[dict[str, np.ndarray]], trainer: pl.Trainer) -> list[dict[str, np.ndarray]]:
    if trainer.world_size == 1:
        return batches
    gathered: list[Any] = [None] * trainer.world_size
    dist.all_gather_object(gathered, batches)
    return [batch for part in gathered for batch in part]


def _table(rows: dict[str, np.ndarray], titles: list[str], users: list[str]) -> pa.Table:
    by_id = np.argsort(rows["id"])
    order = np.argsort(-rows["scores"], axis=1, kind="stable")
    items = np.take_along_axis(rows["items"], order, axis=1)[by_id]
    scores = np.take_along_axis(rows["scores"], order, axis=1)[by_id]
    positive = rows["positive"][by_id]
    return pa.table(
        {
            "id": rows["id"][by_id],
            "user": [users[index] for index in rows["user"][by_id]],
            "target": [titles[index] for index in positive],
            "rank": 1 + np.argmax(items == positive[:, None], axis=1),
            "candidates": [[titles[index] for index in row] for row in items],
            "scores": scores.tolist(),
        }
    )
