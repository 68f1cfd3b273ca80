"""Tables with named columns: a table of interactions, and a catalogue or titles beside them."""

from dataclasses import replace
from pathlib import Path

from datamodules.checks import require_names, require_text
from datamodules.filters import InteractionFilter
from datamodules.interactions import Interactions
from datamodules.sources.base import InteractionSource, sha256
from datamodules.sources.broken import BrokenRows
from datamodules.sources.delimited import require_delimiter
from datamodules.sources.log_builder import ITEM, RATING, TIME, TITLE, USER, read_catalogue, read_log
from datamodules.sources.opened import require_file
from datamodules.sources.table_chunks import TextFormat, table_chunks


class TableSource(InteractionSource):
    """A table with a row per interaction: text, Parquet or JSON (lines or an array), plain, gzip or alone in a zip.

    The content tells the format, not the name.

    Args:
        path: The interactions.
        catalogue: A table with a row per item and its title; None takes titles from `path`.
        user_field: The column with the user's id.
        item_field: The column with the item's id.
        catalogue_item_field: The same in the catalogue; None: its name there is `item_field`, too.
        time_field: The column with the time: numbers; dates or dates with times (ISO 8601, all of one form, without a
            zone taken as UTC); in Parquet timestamps too.
        title_field: The column with the title.
        rating_field: The column with the rating, for a filter; None reads none.
        delimiter: What separates the fields of a text file, one character; backslash and t are a tab.
        quotes: Whether double quotes enclose fields of a text file, as in CSV; else they are part of the text. None:
            unless the delimiter is a tab.
        columns: Names of the columns of a text file without a header line, in their order.
        catalogue_columns: The same for the catalogue.
        filters: Applied to the log in their order.
        skip_broken_rows: Skip and count rows that cannot be used instead of refusing the file.
    """

    def __init__(
        self,
        path: str,
        catalogue: str | None = None,
        user_field: str = "user_id",
        item_field: str = "item_id",
        catalogue_item_field: str | None = None,
        time_field: str = "timestamp",
        title_field: str = "title",
        rating_field: str | None = None,
        delimiter: str = ",",
        quotes: bool | None = None,
        columns: list[str] | None = None,
        catalogue_columns: list[str] | None = None,
        filters: list[InteractionFilter] | None = None,
        skip_broken_rows: bool = False,
    ) -> None:
        super().__init__(filters)
        require_text(
            path=path,
            catalogue=catalogue,
            user_field=user_field,
            item_field=item_field,
            catalogue_item_field=catalogue_item_field,
            time_field=time_field,
            title_field=title_field,
            rating_field=rating_field,
        )
        require_names(columns=columns, catalogue_columns=catalogue_columns)
        self.path = Path(path)
        self.catalogue = None if catalogue is None else Path(catalogue)
        self._fields = {USER: user_field, ITEM: item_field, TIME: time_field, TITLE: title_field}
        if rating_field is not None:
            self._fields[RATING] = rating_field
        if catalogue is None and (catalogue_item_field or catalogue_columns):
            name = "catalogue_item_field" if catalogue_item_field else "catalogue_columns"
            raise ValueError(
                f"{name} is given and catalogue is not: give the table of items, or leave it out"
            )
        self._catalogue_fields = {ITEM: catalogue_item_field or item_field, TITLE: title_field}
        self._format = TextFormat(require_delimiter(delimiter), quotes, columns)
        self._catalogue_format = replace(self._format, columns=catalogue_columns)
        self._skip = skip_broken_rows

    def __str__(self) -> str:
        return str(self.path)

    def content(self, cache_dir: Path) -> str:
        """Hashes the files and how they are read."""
        files = [self.path] if self.catalogue is None else [self.path, self.catalogue]
        fields = [*self._fields.values(), self._catalogue_fields[ITEM]]
        formats = [str(each.columns) for each in (self._format, self._catalogue_format)]
        settings = [*fields, self._format.delimiter, str(self._format.quoted), *formats, str(self._skip)]
        return ":".join([sha256(*map(require_file, files)), *settings])

    def read(self, cache_dir: Path) -> Interactions:
        """Reads the interactions and joins the titles on the item's id.

        Raises:
            InputError: A file or a column is missing, or a row is broken.
        """
        inter = BrokenRows(self.path, self._skip)
        if self.catalogue is None:
            return read_log(table_chunks(inter, self._fields, self._format), None, inter)
        item = BrokenRows(self.catalogue, self._skip)
        catalogue = read_catalogue(table_chunks(item, self._catalogue_fields, self._catalogue_format), item)
        fields = {name: field for name, field in self._fields.items() if name != TITLE}
        return read_log(table_chunks(inter, fields, self._format), catalogue, inter, item)
