"""Users' histories from a file, and given candidates where it has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.catalogue import NamedItems
from datamodules.sources.broken import BrokenRows
from datamodules.sources.table_chunks import records

# A user's id, and the items of the history and of the candidates.
Row = tuple[str, list[int], list[int]]

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
        broken: The file, JSON or Parquet; takes the rows that cannot be used.
        catalogue: The items.

    Raises:
        InputError: The file is missing, has no rows, or a row is broken: an empty history, an item that is not in the
            catalogue, a candidate that stands there twice.
    """
    kept: list[Row] = []
    for place, row in records(broken):
        try:
            parsed = parse_row(row, catalogue)
            if kept and bool(parsed[2]) != bool(kept[0][2]):
                raise ValueError("some rows have candidates and others have none")
            kept.append(parsed)
        except ValueError as error:
            broken.at(place, str(error))
    broken.require_rows(len(kept), "no rows that can be used: give a row per user")
    return UserHistories.of(kept)


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
    _require_keys(row)
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


def _require_keys(row: dict[str, Any]) -> None:
    """Refuse a row without a user or a history, or with a key that is nearly one of ours."""
    for key in row.keys() - {_USER, _HISTORY, _CANDIDATES}:
        if near := get_close_matches(
            key.lower(), {_USER, _HISTORY, _CANDIDATES} - row.keys(), n=1, cutoff=0.7
        ):
            raise ValueError(f"field {key!r} is unknown: did you mean {near[0]!r}?")
    if absent := [key for key in (_USER, _HISTORY) if key not in row]:
        raise ValueError(f"no field {absent[0]!r} among {sorted(row)}")


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
