"""The items that can be recommended: names and titles, no two of them alike."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from datamodules.errors import InputError
from datamodules.interactions import fold_title
from datamodules.sources.broken import BrokenRows
from datamodules.sources.chunks import blank
from datamodules.sources.log_builder import ITEM, TITLE
from datamodules.sources.table import table_chunks


class NamedItems:
    """Items under the names by which histories call them.

    Args:
        titles: Title of every item; a language model knows an item by it alone.
        names: Name of every item; None calls them by their titles, of which case and white space do not count.
        where: Where they come from, for errors.

    Attributes:
        titles: Title of every item, white space folded.
        names: Name of every item.

    Raises:
        InputError: Two items have one title or one name, or there is none.
    """

    def __init__(
        self, titles: Sequence[str], names: Sequence[str] | None = None, where: str = "the catalogue"
    ) -> None:
        if not titles:
            raise InputError(f"{where} has no items: give it a row per item")
        self.titles = [fold_title(title) for title in titles]
        self.names = list(self.titles if names is None else names)
        self._where = where
        self._by_title = names is None
        self._index: dict[str, int] = {}
        self._add("title", [title.casefold() for title in self.titles])
        if names is not None:
            self._index = {}
            self._add("name", self.names)

    def _add(self, kind: str, keys: list[str]) -> None:
        for item, key in enumerate(keys):
            first = self._index.setdefault(key, item)
            if first != item:
                raise InputError(
                    f"{self._where}: items {first + 1} and {item + 1} have the same {kind}, {self.titles[first]!r} and "
                    f"{self.titles[item]!r} by title: leave one out, or tell them apart"
                )

    def find(self, name: str) -> int:
        """Finds an item by its name.

        Raises:
            ValueError: There is none.
        """
        item = self._index.get(fold_title(name).casefold() if self._by_title else name)
        if item is None:
            raise ValueError(f"item {name!r} is not in {self._where}")
        return item


def read_items(
    path: Path, item_field: str, title_field: str, delimiter: str, quotes: bool | None = None
) -> NamedItems:
    """Reads a catalogue from a CSV or Parquet table.

    Args:
        path: The table.
        item_field: The column by which histories name items; the title's own is allowed.
        title_field: The column with the title.
        delimiter: What separates the fields of a text file.
        quotes: Whether quotes enclose its fields; None: unless the delimiter is a tab.

    Raises:
        InputError: The file or a column is missing, a row is broken, or two items are alike.
    """
    names: list[str] = []
    titles: list[str] = []
    broken = BrokenRows(path, skip=False)
    for chunk in table_chunks(broken, {ITEM: item_field, TITLE: title_field}, delimiter, quotes):
        for field in (ITEM, TITLE):
            empty = blank(chunk.columns[field])
            if empty.any():
                place = chunk.place(int(np.argmax(empty)))
                raise InputError(f"{path}, {place}: an empty {field}, or one that is not UTF-8: mend the row")
        names += chunk.columns[ITEM].to_pylist()
        titles += chunk.columns[TITLE].to_pylist()
    for note in broken.notes:
        rank_zero_warn(note)
    return NamedItems(titles, None if item_field == title_field else names, str(path))
