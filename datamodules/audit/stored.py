"""Built examples, for the audit."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from datamodules.audit.encode import padded
from datamodules.audit.rows import AuditData, AuditSplit
from datamodules.errors import InputError
from datamodules.store import TokenStore

_COLUMNS = ("history", "candidates", "target", "time", "user")


def stored_data(store: TokenStore, most: int | None = None) -> AuditData:
    """Reads a store.

    Args:
        store: Examples of a recommendation data set.
        most: About how many rows of each split are read, in runs spread evenly over it; None reads all.

    Raises:
        InputError: The store holds other examples.
    """
    for split in store.splits.values():
        if absent := [name for name in _COLUMNS if len(split) and name not in split.column_names]:
            raise InputError(
                f"{store.folder}: the examples have no {absent[0]}: audit the files they were built from"
            )
    splits = [_split(name, split, most) for name, split in store.splits.items() if len(split)]
    return AuditData(tuple(splits), store.titles)


def _split(name: str, split: Dataset, most: int | None) -> AuditSplit:
    whole: pa.Table = split.data.table.select(_COLUMNS)
    table = _sample(whole, most)
    columns = {column: table[column].combine_chunks() for column in _COLUMNS}
    history, candidates = (
        padded(columns[column].flatten().to_numpy(), pc.list_value_length(columns[column]).to_numpy(), right)
        for column, right in (("history", True), ("candidates", False))
    )
    return AuditSplit(
        name if table is whole else f"a sample of {name}",
        history,
        candidates,
        columns["target"].to_numpy(),
        None if columns["time"].null_count else columns["time"].to_numpy(),
        columns["user"].to_numpy(),
    )


def _sample(table: pa.Table, most: int | None) -> pa.Table:
    """Takes whole record batches, which are read from disk without reading what lies between."""
    if most is None or table.num_rows <= most:
        return table
    batches = table.to_batches()
    count = max(1, most * len(batches) // table.num_rows)
    chosen = np.linspace(0, len(batches) - 1, count).astype(int)
    return pa.Table.from_batches([batches[index] for index in chosen])
