"""CSV or Parquet tables with named columns: a table of interactions, and a catalogue or titles beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datamodules.errors import InputError
from datamodules.filters import InteractionFilter
from datamodules.interactions import Interactions
from datamodules.sources.base import InteractionSource, sha256
from datamodules.sources.broken import BrokenRows
from datamodules.sources.chunks import Chunk, decoded, require_fields, require_file
from datamodules.sources.delimited import DelimitedText, has_quoted_fields, require_delimiter
from datamodules.sources.log_builder import ITEM, RATING, TIME, TITLE, USER, read_catalogue, read_log

_PARQUET_MAGIC = b"PAR1"
_ROWS = 1 << 16


class TableSource(InteractionSource):
    """A table with a row per interaction; whether it is text or Parquet is told from its first bytes.

    Args:
        path: The interactions.
        catalogue: A table with a row per item and its title; None takes titles from `path`.
        user_field: The column with the user's id.
        item_field: The column with the item's id, in both tables.
        time_field: The column with the time: a number, or in Parquet a timestamp.
        title_field: The column with the title.
        rating_field: The column with the rating, for a filter; None reads none.
        delimiter: What separates the fields of a text file, one character.
        quotes: Whether double quotes enclose fields of a text file, as in CSV; else they are part of the text. None:
            unless the delimiter is a tab.
        filters: Applied to the log in their order.
        skip_broken_rows: Skip and count rows that cannot be used instead of refusing the file.
    """

    def __init__(
        self,
        path: str,
        catalogue: str | None = None,
        user_field: str = "user_id",
        item_field: str = "item_id",
        time_field: str = "timestamp",
        title_field: str = "title",
        rating_field: str | None = None,
        delimiter: str = ",",
        quotes: bool | None = None,
        filters: list[InteractionFilter] | None = None,
        skip_broken_rows: bool = False,
    ) -> None:
        super().__init__(filters)
        self.path = Path(path)
        self.catalogue = None if catalogue is None else Path(catalogue)
        self._fields = {USER: user_field, ITEM: item_field, TIME: time_field, TITLE: title_field}
        if rating_field is not None:
            self._fields[RATING] = rating_field
        self._delimiter = require_delimiter(delimiter)
        self._quoted = has_quoted_fields(delimiter, quotes)
        self._skip = skip_broken_rows

    def __str__(self) -> str:
        return str(self.path)

    def content(self, cache_dir: Path) -> str:
        """Hashes the files and how they are read."""
        files = [self.path] if self.catalogue is None else [self.path, self.catalogue]
        settings = [*self._fields.values(), self._delimiter, str(self._quoted), str(self._skip)]
        return ":".join([sha256(*map(require_file, files)), *settings])

    def read(self, cache_dir: Path) -> Interactions:
        """Reads the interactions and joins the titles on the item's id.

        Raises:
            InputError: A file or a column is missing, or a row is broken.
        """
        inter = BrokenRows(self.path, self._skip)
        if self.catalogue is None:
            return read_log(self._chunks(inter, self._fields), None, inter)
        item = BrokenRows(self.catalogue, self._skip)
        catalogue = read_catalogue(
            self._chunks(item, {name: self._fields[name] for name in (ITEM, TITLE)}), item
        )
        fields = {name: field for name, field in self._fields.items() if name != TITLE}
        return read_log(self._chunks(inter, fields), catalogue, inter, item)

    def _chunks(self, broken: BrokenRows, fields: dict[str, str]) -> Iterator[Chunk]:
        return table_chunks(broken, fields, self._delimiter, self._quoted)


def table_chunks(
    broken: BrokenRows, fields: dict[str, str], delimiter: str, quotes: bool | None = None
) -> Iterator[Chunk]:
    """Streams columns of a CSV or Parquet file.

    Args:
        broken: The file; takes the rows that cannot be used.
        fields: Name in the chunk to name of the column.
        delimiter: What separates the fields of a text file.
        quotes: Whether quotes enclose its fields, see `has_quoted_fields`.

    Raises:
        InputError: The file or a column is missing, or the file is broken.
    """
    if is_parquet(broken.path):
        return _parquet(broken.path, fields)
    quoted = has_quoted_fields(delimiter, quotes)
    text = DelimitedText(broken.path, delimiter, quoted)
    if not quoted and (
        enclosed := [name for name in text.header() if len(name) > 1 and name[0] == name[-1] == '"']
    ):
        raise InputError(f"{broken.path}: the header has {enclosed[0]} in quotes: set quotes: true")
    return text.chunks(fields, broken)


def is_parquet(path: Path) -> bool:
    """Tells a Parquet file by its first bytes.

    Raises:
        InputError: There is no file.
    """
    with require_file(path).open("rb") as file:
        return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC


def column_names(path: Path, delimiter: str) -> list[str]:
    """Reads the names of a table's columns.

    Args:
        path: A CSV or Parquet file.
        delimiter: What separates the fields of a text file.

    Raises:
        InputError: The file is missing or broken.
    """
    if not is_parquet(path):
        return DelimitedText(path, delimiter, has_quoted_fields(delimiter, None)).header()
    with broken_files_named(path), pq.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


@contextmanager
def broken_files_named(path: Path) -> Iterator[None]:
    """Says of which file an error in reading Parquet is.

    Raises:
        InputError: The file is broken.
    """
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}: restore the file") from error


def _parquet(path: Path, fields: dict[str, str]) -> Iterator[Chunk]:
    """Streams columns of a Parquet file; ids and titles become text, numbers and times stay."""
    position = 0
    with broken_files_named(path), pq.ParquetFile(path) as file:
        require_fields(path, fields.values(), file.schema_arrow.names)
        for batch in file.iter_batches(_ROWS, columns=list(dict.fromkeys(fields.values()))):
            columns = {name: batch.column(field) for name, field in fields.items()}
            texts = {name: _text(columns[name]) for name in columns if name in (USER, ITEM, TITLE)}
            yield Chunk({**columns, **texts}, partial(_row, position))
            position += batch.num_rows


def _row(position: int, row: int) -> str:
    return f"row {position + row + 1}"


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return decoded(column)
