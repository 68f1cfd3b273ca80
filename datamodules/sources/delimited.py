"""Delimited text, streamed: columns of a file of any size, a block at a time, with the line of every row."""

import csv as line_csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pyarrow import csv

from datamodules.errors import InputError
from datamodules.sources.broken import BrokenRows
from datamodules.sources.chunks import Chunk, decoded, require_fields
from datamodules.sources.opened import open_bytes
from datamodules.sources.quotations import check_quotations

_BLOCK_BYTES = 1 << 22
_TAB = "\t"
_SEPARATORS = {"\t": "tabs", "::": "'::'", ";": "semicolons", "|": "'|'", ",": "commas", " ": "spaces"}
_VALUE = re.compile(r"[+-]?\d[\d.,:-]*")
_LONGEST_FIELD = (1 << 31) - 1  # the most that csv takes everywhere; unless told, it refuses 128 KiB


def require_delimiter(delimiter: str) -> str:
    r"""Return what can separate fields; `\t`, as it is typed on a command line, is a tab.

    Raises:
        ValueError: It cannot.
    """
    if delimiter == r"\t":
        return _TAB
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise ValueError(
            f"delimiter={delimiter!r} must be one ASCII character, neither a quote nor a line break: rewrite the file "
            "with commas or tabs"
        )
    return delimiter


def has_quoted_fields(delimiter: str, quotes: bool | None) -> bool:
    """Return whether quotes enclose fields: what a setting says, and where it is None, unless tabs separate fields."""
    return delimiter != _TAB if quotes is None else quotes


def require_separated(
    path: Path, header: list[str], wanted: Collection[str], delimiter: str, remedy: str
) -> None:
    """Refuse a header that is one field because something else separates its names.

    Args:
        path: The file.
        header: Its names.
        wanted: Names that are asked for.
        delimiter: What should separate them.
        remedy: What to do, with the separator that was found in place of `{}`.

    Raises:
        InputError: The header is one field, none that is wanted, and holds another separator.
    """
    if len(header) != 1 or header[0] in wanted:
        return
    other = max(_SEPARATORS, key=lambda separator: (header[0].count(separator), len(separator)))
    if other in header[0]:
        name, found = _SEPARATORS.get(delimiter, repr(delimiter)), _SEPARATORS[other]
        raise InputError(
            f"{path}: its fields are not separated by {name}: the header, {header[0]!r:.60}, holds {found}: "
            + remedy.format(repr(other))
        )


def _require_header(path: Path, names: list[str], wanted: Collection[str]) -> None:
    """Refuse a first line that holds values."""
    if not any(name in names for name in wanted) and any(_VALUE.fullmatch(name) for name in names):
        raise InputError(
            f"{path}: the first line, {', '.join(names)!r:.60}, names no columns: name them with columns, in "
            "their order"
        )


class DelimitedText:
    """A text file whose first line names the columns, unless they are named here.

    Args:
        path: The file.
        delimiter: One character.
        quoted: Whether a field may stand in double quotes, with delimiters and line breaks inside; otherwise
            quotes are ordinary characters.
        columns: Names of the columns of a file without a header; None reads them from the first line.
        quotes_hint: Added to the error about a row that holds a quote and has more or fewer fields than the header.
    """

    def __init__(
        self,
        path: Path,
        delimiter: str,
        quoted: bool,
        columns: Sequence[str] | None = None,
        quotes_hint: str = "",
    ) -> None:
        self.path = path
        self._delimiter = delimiter
        self._quoted = quoted
        self._columns = columns
        self._quotes_hint = quotes_hint

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yields every row that is not empty, with the line on which it begins; slow: for headers and errors."""
        quoting: Literal[0, 3] = line_csv.QUOTE_MINIMAL if self._quoted else line_csv.QUOTE_NONE
        line_csv.field_size_limit(_LONGEST_FIELD)
        with io.TextIOWrapper(
            open_bytes(self.path), encoding="utf-8-sig", errors="replace", newline=""
        ) as file:
            reader = line_csv.reader(file, delimiter=self._delimiter, quoting=quoting)
            begin = 1
            for row in reader:
                if row:
                    yield begin, row
                begin = reader.line_num + 1

    def header(self) -> list[str]:
        """Return the names of the columns.

        Raises:
            InputError: There is no file, or `columns` names more or fewer than the first line has.
        """
        first = next((row for _, row in self._lines()), [])
        if self._columns is None:
            return first
        if len(first) != len(self._columns):
            raise InputError(
                f"{self.path}: columns names {len(self._columns)} and line 1 has {len(first)} fields, "
                f"{self._delimiter.join(first)!r:.60}: name every one of them"
            )
        return list(self._columns)

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
            broken.notes += check_quotations(self.path, self._delimiter, header=self._columns is None)
        self._require(columns.values())
        misshapen: list[csv.InvalidRow] = []
        position = reported = 0
        try:
            with open_bytes(self.path) as file:
                for batch in self._reader(file, list(dict.fromkeys(columns.values())), misshapen):
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

    def _require(self, wanted: Collection[str]) -> None:
        names = self.header()
        if self._columns is None:
            require_separated(self.path, names, wanted, self._delimiter, "set delimiter to {}")
            _require_header(self.path, names, wanted)
        require_fields(self.path, wanted, names)

    def _reader(
        self, file: io.BufferedReader, columns: list[str], misshapen: list[csv.InvalidRow]
    ) -> csv.CSVStreamingReader:
        def skip(row: csv.InvalidRow) -> str:
            misshapen.append(row)
            return "skip"

        return csv.open_csv(
            file,
            # Arrow tells the number of an invalid row only where it parses in one thread.
            csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=self._columns),
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
            hint = self._quotes_hint if '"' in first.text else ""
            broken.found(
                lambda: f"line {self._line(first.number)}",
                lambda: f"Expected {first.expected_columns} columns, got {first.actual_columns}{hint}",
                len(misshapen),
            )

    def _place(self, misshapen: list[csv.InvalidRow], position: int, row: int) -> str:
        """Says on which line well-shaped row `position + row` begins; rows of the file count from 1, the header's."""
        number = position + row + (1 if self._columns else 2)
        for other in misshapen:
            number += other.number <= number
        return f"line {self._line(number)}"

    def _line(self, number: int) -> int:
        for row, (line, _) in enumerate(self._lines(), start=1):
            if row == number:
                return line
        return number
