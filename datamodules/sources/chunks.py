"""A piece of a table of any size, and the helpers that check its values."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datamodules.errors import InputError

NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


@dataclass(frozen=True)
class Chunk:
    """Some rows of some columns.

    Attributes:
        columns: Arrays of equal length; null where a value is missing or is not UTF-8.
        place: Says where a row of this chunk stands in the file, `line 7`.
    """

    columns: Mapping[str, pa.Array]
    place: Callable[[int], str]


def require_fields(path: Path, wanted: Collection[str], present: Collection[str]) -> None:
    """Checks that a file has the columns that are asked for.

    Raises:
        InputError: One is absent, or there are two of it.
    """
    if not present:
        raise InputError(f"{path} is empty: restore the file")
    if absent := [field for field in wanted if field not in present]:
        raise InputError(
            f"{path}: no field {absent[0]!r} among {sorted(present)}: rename it or name the right one"
        )
    if twice := [field for field in wanted if list(present).count(field) > 1]:
        raise InputError(f"{path}: two fields are called {twice[0]!r}: rename one")


def decoded(column: pa.Array) -> pa.Array:
    """Turns bytes into text; null where they are not UTF-8."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decode(value) for value in column.to_pylist()], pa.string())


def _decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def blank(column: pa.Array) -> NDArray[np.bool_]:
    """Marks values that are null or white space alone, shape [N]."""
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True).to_numpy(zero_copy_only=False)


def numbers(column: pa.Array) -> NDArray[np.float64]:
    """Reads numbers or times (as seconds since 1970), not-a-number where a value is neither; shape [N]."""
    try:
        if pa.types.is_temporal(column.type):
            column = pc.divide(column.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64()), 1e6)
        elif pa.types.is_string(column.type):
            column = _numbers_of_text(column)
        return pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # a column of lists, say, or of times of day
        return np.full(len(column), np.nan)


def _numbers_of_text(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        number = pc.match_substring_regex(column, NUMBER)
        return pc.utf8_trim_whitespace(pc.if_else(number, column, None)).cast(pa.float64())
