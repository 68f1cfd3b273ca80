"""Users' histories from a file, and given candidates where it has them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from datamodules.catalogue import NamedItems
from datamodules.errors import InputError
from datamodules.sources.broken import BrokenRows
from datamodules.sources.json_rows import json_lines
from datamodules.sources.table import broken_files_named, is_parquet

# A user's id, and the items of the history and of the candidates.
Row = tuple[str, list[int], list[int]]

_ROWS = 1 << 14
_USER, _HISTORY, _CANDIDATES = "user", "history", "candidates"


@dataclass(frozen=True)
class UserHistories:
    """What users consumed, oldest first, and what is to be ranked for them.

    Attributes:
        users: Id of every user, N of them.
        items: Items of all histories, one user after the other, shape [M].
        lengths: Items of each history, shape [N].
        candidates: Items to rank, -1 where there is none, shape [N, C]; C = 0 recommends from the whole catalogue.
    """

    users: list[str]
    items: NDArray[np.int32]
    lengths: NDArray[np.int64]
    candidates: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "UserHistories":
        """Joins rows."""
        padded = np.full((len(rows), max((len(own) for *_, own in rows), default=0)), -1, dtype=np.int32)
        for place, (*_, own) in zip(padded, rows, strict=True):
            place[: len(own)] = own
        return cls(
            users=[user for user, *_ in rows],
            items=np.fromiter((item for _, history, _ in rows for item in history), dtype=np.int32),
            lengths=np.array([len(history) for _, history, _ in rows], dtype=np.int64),
            candidates=padded,
        )


def read_histories(broken: BrokenRows, catalogue: NamedItems) -> UserHistories:
    """Reads `user`, `history` (names of items, oldest first) and, in all rows or in none, `candidates`.

    Args:
        broken: The file, JSON lines or Parquet; takes the rows that cannot be used.
        catalogue: The items.

    Raises:
        InputError: The file is missing, has no rows, or a row is broken: an empty history, an item that is not in the
            catalogue, a candidate that stands there twice.
    """
    rows = _parquet_rows(broken.path) if is_parquet(broken.path) else _json_rows(broken)
    kept: list[Row] = []
    for place, row in rows:
        try:
            parsed = parse_row(row, catalogue)
            if kept and bool(parsed[2]) != bool(kept[0][2]):
                raise ValueError("some rows have candidates and others have none")
            kept.append(parsed)
        except ValueError as error:
            broken.found(partial(str, place), partial(str, error))
    if not kept:
        raise InputError(f"{broken.path}: no rows that can be used: give a row per user")
    return UserHistories.of(kept)


def _json_rows(broken: BrokenRows) -> Iterator[tuple[str, Any]]:
    for line, row in json_lines(broken):
        yield f"line {line}", row


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    number = 0
    with broken_files_named(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row


def parse_row(row: Any, catalogue: NamedItems) -> Row:
    """Checks a row.

    Args:
        row: `user`, `history` and perhaps `candidates`.
        catalogue: The items.

    Raises:
        ValueError: It says what is wrong with the row.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{str(row)[:40]!r} is not an object")
    user = _name(_USER, row.get(_USER))
    history, candidates = (
        [catalogue.find(_name(field, name)) for name in _list(field, row.get(field))]
        for field in (_HISTORY, _CANDIDATES)
    )
    if not history:
        raise ValueError("the history is empty")
    if len(set(candidates)) < len(candidates):
        raise ValueError("a candidate stands there twice")
    return user, history, candidates


def _list(field: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{field} {str(value)[:40]!r} is not a list")
    return value


def _name(field: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{field} holds {str(value)[:40]!r}, which is neither text nor a number")
    return str(value)
