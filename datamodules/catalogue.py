"""The items that can be recommended: titles, no two of them alike, and the names by which histories call them."""

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from datamodules.errors import InputError
from datamodules.interactions import fold_title, merge_titles
from datamodules.sources.broken import BrokenRows
from datamodules.sources.log_builder import ITEM, TITLE, read_catalogue
from datamodules.sources.table_chunks import TextFormat, table_chunks


class NamedItems:
    """Items under the names by which histories call them.

    Names whose titles a language model could not tell apart are one item, as in training.

    Args:
        titles: Title of every name.
        names: The names; None calls items by their titles, of which case and white space do not count.
        where: Where they come from, for errors.

    Attributes:
        titles: Title of every item, white space folded.
        names: Name of every item, the first of several.

    Raises:
        InputError: There is no item, a title is empty, or a name stands for two titles.
    """

    def __init__(
        self, titles: Sequence[str], names: Sequence[str] | None = None, where: str = "the catalogue"
    ) -> None:
        if not titles:
            raise InputError(f"{where} has no items: give it a row per item")
        self.titles, of_name = merge_titles(list(titles))
        self._where = where
        self._by_title = names is None
        keys = [fold_title(title).casefold() for title in titles] if names is None else names
        self._index: dict[str, int] = {}
        for key, item in zip(keys, of_name.tolist(), strict=True):
            first = self._index.setdefault(key, item)
            if first != item:
                raise InputError(
                    f"{where}: {key!r} is the name of {self.titles[first]!r} and of {self.titles[item]!r}: leave one "
                    "out"
                )
        self.names = self.titles if names is None else self._first_names()

    def _first_names(self) -> list[str]:
        first: dict[int, str] = {}
        for name, item in self._index.items():
            first.setdefault(item, name)
        return [first[item] for item in range(len(self.titles))]

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
    path: Path, item_field: str, title_field: str, text_format: TextFormat, skip: bool = False
) -> NamedItems:
    """Reads a catalogue from a table of any format.

    Args:
        path: The table.
        item_field: The column by which histories name items; the title's own is allowed.
        title_field: The column with the title.
        text_format: How the table is written where it is text.
        skip: Skip and count broken rows.

    Raises:
        InputError: The file or a column is missing, or a row is broken: an item has another title than before.
    """
    broken = BrokenRows(path, skip)
    chunks = table_chunks(broken, {ITEM: item_field, TITLE: title_field}, text_format)
    catalogue = read_catalogue(chunks, broken)
    for note in broken.notes:
        rank_zero_warn(note)
    if broken.count:
        rank_zero_info(f"skipped {broken.count} rows of {path} that cannot be used")
    names = None if item_field == title_field else catalogue.items.strings()
    items = NamedItems(catalogue.titles, names, str(path))
    if merged := len(catalogue.titles) - len(items.titles):
        rank_zero_info(f"{path}: merged {merged} items into others of the same title")
    return items
