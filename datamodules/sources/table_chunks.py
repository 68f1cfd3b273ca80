"""Columns of a table, streamed: text, Parquet or JSON, told apart by their content; each perhaps compressed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datamodules.errors import InputError
from datamodules.sources.broken import BrokenRows
from datamodules.sources.chunks import Chunk, decoded, require_fields
from datamodules.sources.delimited import DelimitedText, has_quoted_fields
from datamodules.sources.json_rows import is_json, json_rows
from datamodules.sources.log_builder import ITEM, TITLE, USER
from datamodules.sources.opened import first_bytes, is_plain, open_bytes
from datamodules.sources.quotations import count_enclosed

_PARQUET_MAGIC = b"PAR1"
_ROWS = 1 << 16
_ROWS_OF_OBJECTS = 1 << 14
_QUOTES_HINT = ", and its quotes enclose fields only with quotes: true"


@dataclass(frozen=True)
class TextFormat:
    """How a table of text is written; of no account for Parquet and JSON.

    Attributes:
        delimiter: What separates its fields.
        quotes: Whether quotes enclose its fields, see `has_quoted_fields`.
        columns: Names of its columns where it has no header.
    """

    delimiter: str = ","
    quotes: bool | None = None
    columns: Sequence[str] | None = None

    @property
    def quoted(self) -> bool:
        """Whether quotes enclose fields."""
        return has_quoted_fields(self.delimiter, self.quotes)

    def opened(self, path: Path) -> DelimitedText:
        """Return a file in this format."""
        return DelimitedText(
            path, self.delimiter, self.quoted, self.columns, "" if self.quoted else _QUOTES_HINT
        )


def table_chunks(broken: BrokenRows, fields: dict[str, str], text_format: TextFormat) -> Iterator[Chunk]:
    """Stream columns of a table.

    Args:
        broken: The file; takes the rows that cannot be used.
        fields: Name in the chunk to name of the column.
        text_format: How it is written where it is text.

    Raises:
        InputError: The file or a column is missing, or the file is broken.
    """
    if is_parquet(broken.path):
        return _parquet(broken.path, fields)
    if is_json(broken.path):
        return _json(broken, fields)
    text = text_format.opened(broken.path)
    if not text_format.quoted and (
        enclosed := [name for name in text.header() if len(name) > 1 and name[0] == name[-1] == '"']
    ):
        raise InputError(f"{broken.path}: the header has {enclosed[0]} in quotes: set quotes: true")
    chunks = text.chunks(fields, broken)
    return (
        chunks
        if text_format.quotes is not None or text_format.quoted
        else _noting_quotes(chunks, fields, broken)
    )


def _noting_quotes(chunks: Iterator[Chunk], fields: dict[str, str], broken: BrokenRows) -> Iterator[Chunk]:
    """Pass chunks on, and note at their end how many fields stand in quotes that are read as text."""
    distinct = {field: name for name, field in fields.items()}.values()
    count = 0
    for chunk in chunks:
        count += sum(count_enclosed(chunk.columns[name]) for name in distinct)
        yield chunk
    if count:
        broken.notes.append(
            f"{broken.path.name} has {count} fields that begin and end with a quote, which is read as text: set "
            "quotes: true where quotes enclose fields, quotes: false where they do not"
        )


def column_names(path: Path, delimiter: str) -> list[str]:
    """Return the names of a table's columns.

    Args:
        path: The table.
        delimiter: What separates its fields where it is text.

    Raises:
        InputError: The file is missing or broken.
    """
    if is_json(path):
        rows = islice(json_rows(BrokenRows(path, skip=True)), _ROWS_OF_OBJECTS)
        return _keys(value for _, value in rows)
    if not is_parquet(path):
        return TextFormat(delimiter).opened(path).header()
    with open_parquet(path) as file:
        return list(file.schema_arrow.names)


def is_parquet(path: Path) -> bool:
    """Tell a Parquet file by its first bytes.

    Raises:
        InputError: There is no file.
    """
    return first_bytes(path, len(_PARQUET_MAGIC)) == _PARQUET_MAGIC


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; a compressed one is taken into memory, since it cannot be read from its end.

    Raises:
        InputError: The file is broken.
    """
    with open_bytes(path) as content:
        try:
            with pq.ParquetFile(path if is_plain(path) else pa.BufferReader(content.read())) as file:
                yield file
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise InputError(f"{path}: {str(error).splitlines()[0]}: restore the file") from error


def records(broken: BrokenRows) -> Iterator[tuple[str, Any]]:
    """Stream the rows of a file of JSON lines, of one JSON array or of Parquet.

    Args:
        broken: The file; takes the rows that are no JSON.

    Yields:
        Where a row stands, and its value.

    Raises:
        InputError: The file is missing or a row is broken.
    """
    if not is_parquet(broken.path):
        for line, row in json_rows(broken):
            yield f"line {line}", row
        return
    number = 0
    with open_parquet(broken.path) as file:
        for batch in file.iter_batches(_ROWS_OF_OBJECTS):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row


def _parquet(path: Path, fields: dict[str, str]) -> Iterator[Chunk]:
    """Stream columns of a Parquet file; ids, titles and texts become text, numbers and times stay."""
    position = 0
    with open_parquet(path) as file:
        require_fields(path, fields.values(), file.schema_arrow.names)
        for batch in file.iter_batches(_ROWS, columns=list(dict.fromkeys(fields.values()))):
            columns = {name: batch.column(field) for name, field in fields.items()}
            texts = {
                name: _text(column)
                for name, column in columns.items()
                if name in (USER, ITEM, TITLE) or _holds_text(column.type)
            }
            yield Chunk({**columns, **texts}, partial(_row, position))
            position += batch.num_rows


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_large_string(kind) or pa.types.is_string(kind)


def _row(position: int, row: int) -> str:
    return f"row {position + row + 1}"


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return decoded(column)


def _json(broken: BrokenRows, fields: dict[str, str]) -> Iterator[Chunk]:
    """Stream keys of JSON objects as text."""
    rows = json_rows(broken)
    first = True
    while block := list(islice(rows, _ROWS_OF_OBJECTS)):
        if first:
            require_fields(broken.path, fields.values(), _keys(row for _, row in block))
            first = False
        lines: list[int] = []
        columns: dict[str, list[str | None]] = {name: [] for name in fields}
        for line, row in block:
            try:
                values = [_value(name, row, field) for name, field in fields.items()]
            except ValueError as error:
                broken.at(f"line {line}", str(error))
                continue
            lines.append(line)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
        if lines:
            arrays = {name: pa.array(column, pa.string()) for name, column in columns.items()}
            yield Chunk(arrays, partial(_line, lines))


def _keys(rows: Any) -> list[str]:
    return list(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row))


def _value(name: str, row: Any, field: str) -> str | None:
    if not isinstance(row, dict):
        raise ValueError(f"{str(row)[:40]!r} is not an object")
    value = row.get(field)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} {str(value)[:40]!r} is neither text nor a number")
    return str(value)


def _line(lines: list[int], row: int) -> str:
    return f"line {lines[row]}"
