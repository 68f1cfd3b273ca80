"""Times as a table gives them: numbers, or dates of ISO 8601; a file has one kind, which its first time decides."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datamodules.sources.chunks import NUMBER, numbers

_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"[ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?"
# What a time may be, in words, and how it is written; pyarrow reads all of them but numbers.
_KINDS = {
    "a number": NUMBER,
    "a date": rf"^\s*{_DAY}\s*$",
    "a date and time": rf"^\s*{_DAY}{_CLOCK}\s*$",
    "a date and time with a zone": rf"^\s*{_DAY}{_CLOCK}(Z|[+-]\d\d(:?\d\d)?)\s*$",
}
_NUMBER, *_, _ZONED = _KINDS


class TimeColumn:
    """Reads the times of one file, chunk by chunk, as seconds since 1970 or as the numbers that they are.

    Attributes:
        kind: What the times are, in words; None until one was read.
    """

    def __init__(self) -> None:
        self.kind: str | None = None

    def seconds(self, column: pa.Array) -> NDArray[np.float64]:
        """Read a chunk, not-a-number where a value is no time or of another kind than the first one; shape [N]."""
        if not pa.types.is_string(column.type):
            return numbers(column)
        if self.kind is None:
            self.kind = _first_kind(column)
        if self.kind in (None, _NUMBER):
            return numbers(column)
        return self._dates(column)

    def _dates(self, column: pa.Array) -> NDArray[np.float64]:
        as_time = pa.timestamp("us", "UTC" if self.kind == _ZONED else None)
        fits = pc.match_substring_regex(column, _KINDS[str(self.kind)])
        texts = pc.utf8_trim_whitespace(pc.if_else(fits, column, None))
        # Arrow wants six digits of a second at most.
        texts = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")
        try:
            return numbers(texts.cast(as_time))
        except pa.ArrowInvalid:  # the 30th of February
            return numbers(pa.array([_moment(text, as_time) for text in texts], as_time))

    def fault(self, value: str | None) -> str:
        """Say what is wrong with a value that `seconds` could not read."""
        kind = next((kind for kind in _KINDS if self.kind and _is_kind(value, kind)), None)
        if kind is None or kind == self.kind:
            return "is not a number or an ISO 8601 date (2020-09-16 14:44:19)"
        return f"is {kind}, and the first time of the file is {self.kind}"


def _is_kind(value: str | None, kind: str) -> bool:
    return value is not None and pc.match_substring_regex(pa.scalar(value), _KINDS[kind]).as_py()


def _first_kind(column: pa.Array) -> str | None:
    """Find the kind of the first value that has one."""
    first = {
        kind: pc.index(pc.match_substring_regex(column, form), True).as_py() for kind, form in _KINDS.items()
    }
    there = {kind: row for kind, row in first.items() if row >= 0}
    return min(there, key=lambda kind: there[kind], default=None)


def _moment(text: pa.Scalar, as_time: pa.DataType) -> pa.Scalar | None:
    try:
        return text.cast(as_time).as_py()
    except pa.ArrowInvalid:
        return None
