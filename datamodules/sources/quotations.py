"""Quoted fields of delimited text: those that swallow rows are refused, those that hold line breaks are counted."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from datamodules.errors import InputError
from datamodules.sources.opened import open_bytes

_BLOCK_BYTES = 1 << 22
_LONGEST_FIELD = (1 << 31) - 1  # the most that csv takes everywhere; unless told, it refuses 128 KiB
_REMEDY = "double the quotes inside a quoted field, or set quotes: false where they are part of the text"


def check_quotations(path: Path, delimiter: str, header: bool = True) -> list[str]:
    """Check that every field that begins with a quote ends with one.

    Arrow reads on at a quote that is never closed, over any number of lines, and takes what it passes for one value.

    Args:
        path: The file.
        delimiter: What separates its fields.
        header: Whether its first line names the columns.

    Returns:
        Sentences about rows on several lines and about text behind a closing quote; none as a rule.

    Raises:
        InputError: A quote opens on one line, and on a later line the file ends inside it or text follows its end.
    """
    if not _has_quotes(path):
        return []
    rows = lines = -int(header)
    broken_lines: list[int] = []
    loose_text: list[int] = []
    for begin, end, error in _rows(path, delimiter):
        rows += 1
        lines += 1 + end - begin
        if error:
            _refuse_if_it_swallows(path, begin, end, error)
            loose_text.append(begin)
        elif end > begin:
            broken_lines.append(begin)
    notes = []
    if broken_lines:
        notes.append(
            f"{path.name} has {rows} rows on {lines} lines: {len(broken_lines)} of them hold line breaks in "
            f"quotes, the first on line {broken_lines[0]}"
        )
    if loose_text:
        notes.append(
            f"{path.name} has text behind a closing quote in {len(loose_text)} rows, which lose the quotes, the first "
            f"on line {loose_text[0]}: {_REMEDY}"
        )
    return notes


def count_enclosed(column: pa.Array) -> int:
    """Count the texts that begin and end with a quote and hold something between."""
    enclosed = pc.and_(pc.starts_with(column, '"'), pc.ends_with(column, '"'))
    count = pc.sum(pc.and_(enclosed, pc.greater(pc.binary_length(column), 2))).as_py()
    return int(count or 0)


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, int, csv.Error | None]]:
    """Yield the first and the last line of every row that is not empty, and what is wrong with its quotes."""
    csv.field_size_limit(_LONGEST_FIELD)
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        begin = 1
        while True:
            error, row = None, [""]
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as wrong:  # the reader goes on with the next line
                error = wrong
            if row:
                yield begin, reader.line_num, error
            begin = reader.line_num + 1


def _refuse_if_it_swallows(path: Path, begin: int, end: int, error: csv.Error) -> None:
    if "end of data" in str(error):
        raise InputError(
            f"{path}, line {begin}: a quote opens here and the file ends inside quotes: restore the file, or set "
            "quotes: false where quotes are part of the text"
        ) from error
    if end > begin:
        raise InputError(
            f"{path}, line {begin}: a quote opens here, closes on line {end} and text follows it there: {_REMEDY}"
        ) from error


def _has_quotes(path: Path) -> bool:
    with open_bytes(path) as file:
        return any(b'"' in block for block in iter(lambda: file.read(_BLOCK_BYTES), b""))
