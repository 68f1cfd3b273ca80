"""Reference log-probabilities on disk: a sweep over K, β, γ, α and objectives computes them once.

They are kept for all candidates of an example, so any subset of its negatives is found. A run fills in what it will
train on before its first step and then needs no reference model. Shards are written aside and renamed, so several
processes can write; a shard that is torn or changed is told by its checksum and computed again.
"""

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from datamodules.batches import Batch
from datamodules.errors import InputError, make_folder
from lightning_modules.reference import Reference

_CHECKSUM = b"sha256"


class CachedReference(Reference):
    """Looks up log π_ref(y | x); nothing is computed and no device waits.

    Args:
        ids: Example ids, sorted, shape [N].
        items: Responses of every example, -1 where there is none, shape [N, C].
        log_probs: Their log-probabilities, shape [N, C].
    """

    ids: Tensor
    items: Tensor
    log_probs: Tensor
    missed: Tensor

    def __init__(self, ids: Tensor, items: Tensor, log_probs: Tensor) -> None:
        super().__init__()
        missed = torch.tensor(-1)  # the id of an example that was asked for and is not there
        for name, values in (("ids", ids), ("items", items), ("log_probs", log_probs), ("missed", missed)):
            self.register_buffer(name, values, persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Finds a batch's responses.

        Returns:
            Log-probabilities, 0 where there is no response, NaN where the response is not in the cache (`FiniteLoss`
            names an example whose it is), shape [B, R].
        """
        row = torch.searchsorted(self.ids, batch.id).clamp(max=len(self.ids) - 1)
        same = (batch.items[:, :, None] == self.items[row][:, None, :]) & (self.ids[row] == batch.id)[
            :, None, None
        ]
        absent = ~same.any(-1) & (batch.items >= 0)
        self.missed = torch.maximum(self.missed, torch.where(absent.any(-1), batch.id, -1).max())
        found = torch.where(same.any(-1), self.log_probs[row].gather(1, same.int().argmax(-1)), torch.nan)
        return found.masked_fill(batch.items < 0, 0.0)


class ReferenceStore:
    """A folder of shards for one reference on one data set.

    Args:
        folder: Its name holds the key, see `cache_key`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def missing(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Says which examples are not there yet, shape of `ids`."""
        return ~np.isin(ids, self._table()["id"].to_numpy())

    def fill(self, batches: Iterable[Batch], score: Callable[[Batch], Tensor]) -> None:
        """Scores batches and writes a shard for each.

        Args:
            batches: Examples with all their candidates.
            score: Computes log π_ref(y | x), shape [B, C].

        Raises:
            InputError: The folder cannot be made.
        """
        make_folder(self.folder, "name another cache with --model.reference_cache")
        for batch in batches:
            _write_shard(self.folder, batch, score(batch).float().cpu())

    def load(self, ids: NDArray[np.int64]) -> CachedReference:
        """Reads some examples.

        Raises:
            InputError: Some are not there.
        """
        table = self._table()
        there, first = np.unique(table["id"].to_numpy(), return_index=True)
        if len(absent := np.setdiff1d(ids, there)):
            raise InputError(
                f"{self.folder} lacks {len(absent)} of {len(ids)} examples, the first is {absent[0]}, after all "
                "processes filled it: set reference_cache to a folder that all of them see"
            )
        table = table.take(first[np.isin(there, ids)])
        return CachedReference(
            torch.from_numpy(table["id"].to_numpy().copy()),
            _padded(table["items"], -1),
            _padded(table["log_probs"], 0.0),
        )

    def _table(self) -> pa.Table:
        tables = [_read_shard(path) for path in sorted(self.folder.glob("*.arrow"))]
        return pa.concat_tables([_SCHEMA.empty_table(), *(table for table in tables if table is not None)])


_SCHEMA = pa.schema(
    [("id", pa.int64()), ("items", pa.list_(pa.int64())), ("log_probs", pa.list_(pa.float32()))]
)


def cache_key(*parts: str) -> str:
    """Names a folder after everything that decides its numbers."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _write_shard(folder: Path, batch: Batch, log_probs: Tensor) -> None:
    items = batch.items.cpu()
    table = pa.table([batch.id.cpu().numpy(), list(items.numpy()), list(log_probs.numpy())], schema=_SCHEMA)
    table = table.replace_schema_metadata({_CHECKSUM: _checksum(table)})
    path = folder / f"{uuid.uuid4().hex}.arrow"
    temporary = path.with_suffix(".part")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    os.replace(temporary, path)


def _read_shard(path: Path) -> pa.Table | None:
    try:
        with pa.OSFile(str(path), "rb") as source:
            table = pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid:
        table = None
    if table is None or (table.schema.metadata or {}).get(_CHECKSUM) != _checksum(table):
        rank_zero_warn(f"{path} is torn or was changed: its reference log-probabilities are computed again")
        path.unlink(missing_ok=True)
        return None
    return table.replace_schema_metadata(None)


def _checksum(table: pa.Table) -> bytes:
    total = hashlib.sha256()
    for column in table.columns:
        values = column.combine_chunks()
        if pa.types.is_list(values.type):
            total.update(values.value_lengths().to_numpy().tobytes())
            values = values.flatten()
        total.update(values.to_numpy().tobytes())
    return total.hexdigest().encode()


def _padded(column: pa.ChunkedArray, fill: float) -> Tensor:
    rows = column.combine_chunks()
    lengths = rows.value_lengths().to_numpy()
    values = rows.flatten().to_numpy()
    table = np.full((len(lengths), lengths.max(initial=0)), fill, dtype=values.dtype)
    table[np.arange(table.shape[1]) < lengths[:, None]] = values
    return torch.from_numpy(table)
