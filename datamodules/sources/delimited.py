"""Delimited text, streamed: columns of a file of any size, a block at a time, with the line of every row."""

import csv as line_csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pyarrow import csv

from datamodules.errors import InputError
from datamodules.sources.broken import BrokenRows
from datamodules.sources.chunks import Chunk, decoded, require_fields, require_file
from datamodules.sources.quotations import check_quotations

_BLOCK_BYTES = 1 << 22
_TAB = "\t"
_LONGEST_FIELD = (1 << 31) - 1  # the most that csv takes everywhere; unless told, it refuses 128 KiB


def require_delimiter(delimiter: str) -> str:
    """Return what can separate fields.

    Raises:
        ValueError: It cannot.
    """
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise ValueError(
            f"delimiter={delimiter!r} must be one ASCII character, neither a quote nor a line break: rewrite the file "
            "with commas or tabs"
        )
    return delimiter


def has_quoted_fields(delimiter: str, quotes: bool | None) -> bool:
    """Return whether quotes enclose fields: what a setting says, and where it is None, unless tabs separate fields."""
    return delimiter != _TAB if quotes is None else quotes


class DelimitedText:
    """A text file with one header line.

    Args:
        path: The file.
        delimiter: One character.
        quoted: Whether a field may stand in double quotes, with delimiters and line breaks inside; otherwise
            quotes are ordinary characters.
    """

    def __init__(self, path: Path, delimiter: str, quoted: bool) -> None:
        self.path = require_file(path)
        self._delimiter = delimiter
        self._quoted = quoted

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yields every row that is not empty, with the line on which it begins; slow: for headers and errors."""
        quoting: Literal[0, 3] = line_csv.QUOTE_MINIMAL if self._quoted else line_csv.QUOTE_NONE
        line_csv.field_size_limit(_LONGEST_FIELD)
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = line_csv.reader(file, delimiter=self._delimiter, quoting=quoting)
            begin = 1
            for row in reader:
                if row:
                    yield begin, row
                begin = reader.line_num + 1

    def header(self) -> list[str]:
        """Reads the names in the first line."""
        return next((row for _, row in self._lines()), [])

    def chunks(self, columns: dict[str, str], broken: BrokenRows) -> Iterator[Chunk]:
        """Streams columns as text.

        Args:
            columns: Name in the chunk to name in the header.
            broken: Takes the rows that have more or fewer fields than the header, and notes on quoted fields.

        Yields:
            Chunks with at least one row.

        Raises:
            InputError: A column is absent, a row is broken, a quotation swallows rows, or the file cannot be parsed.
        """
        if self._quoted:
            broken.notes += check_quotations(self.path, self._delimiter)
        require_fields(self.path, columns.values(), self.header())
        misshapen: list[csv.InvalidRow] = []
        position = reported = 0
        try:
            for batch in self._reader(list(dict.fromkeys(columns.values())), misshapen):
                if len(misshapen) > reported:
                    self._report(misshapen[reported:], broken)
                    reported = len(misshapen)
                arrays = {name: decoded(batch.column(column)) for name, column in columns.items()}
                if batch.num_rows:
                    yield Chunk(arrays, partial(self._place, misshapen, position))
                position += batch.num_rows
            self._report(misshapen[reported:], broken)
        except pa.ArrowInvalid as error:
            raise InputError(f"{self.path}: {str(error).splitlines()[0]}: restore the file") from error

    def _reader(self, columns: list[str], misshapen: list[csv.InvalidRow]) -> csv.CSVStreamingReader:
        def skip(row: csv.InvalidRow) -> str:
            misshapen.append(row)
            return "skip"

        return csv.open_csv(
            self.path,
            # Arrow tells the number of an invalid row only where it parses in one thread.
            csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            csv.ParseOptions(
                delimiter=self._delimiter,
                quote_char='"' if self._quoted else False,
                newlines_in_values=self._quoted,
                invalid_row_handler=skip,
            ),
            csv.ConvertOptions(
                include_columns=columns,
                column_types={column: pa.binary() for column in columns},  # text is checked row by row
                strings_can_be_null=False,
            ),
        )

    def _report(self, misshapen: list[csv.InvalidRow], broken: BrokenRows) -> None:
        if misshapen:
            first = misshapen[0]
            broken.found(
                lambda: f"line {self._line(first.number)}",
                lambda: f"Expected {first.expected_columns} columns, got {first.actual_columns}",
                len(misshapen),
            )

    def _place(self, misshapen: list[csv.InvalidRow], position: int, row: int) -> str:
        """Says on which line well-shaped row `position + row` begins; rows of the file count from the header, 1."""
        number = position + row + 2
        for other in misshapen:
            number += other.number <= number
        return f"line {self._line(number)}"

    def _line(self, number: int) -> int:
        for row, (line, _) in enumerate(self._lines(), start=1):
            if row == number:
                return line
        return number
