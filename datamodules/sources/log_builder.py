"""From chunks of text to an interaction log: ids become integers as they stream by."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datamodules.errors import InputError
from datamodules.interactions import Interactions, merge_titles
from datamodules.sources.broken import BrokenRows
from datamodules.sources.chunks import Chunk, blank, numbers

_VALUE = "<value>"
USER, ITEM, TIME, TITLE, RATING = "user", "item", "time", "title", "rating"


class Vocabulary:
    """Strings as consecutive integers in order of first appearance."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._index)

    def strings(self) -> list[str]:
        """All strings, each at its integer."""
        return list(self._index)

    def add(self, column: pa.Array) -> NDArray[np.int32]:
        """Encodes strings, new ones included, shape [N]."""
        return self._encode(column, lambda value: self._index.setdefault(value, len(self._index)))

    def find(self, column: pa.Array) -> NDArray[np.int32]:
        """Encodes strings, -1 where one is unknown, shape [N]."""
        return self._encode(column, lambda value: self._index.get(value, -1))

    @staticmethod
    def _encode(column: pa.Array, code: Callable[[str], int]) -> NDArray[np.int32]:
        encoded = pc.dictionary_encode(column)
        codes = np.array([code(value) for value in encoded.dictionary.to_pylist()] + [-1], dtype=np.int32)
        return codes[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


class Catalogue:
    """Item ids and their titles."""

    def __init__(self) -> None:
        self.items = Vocabulary()
        self.titles: list[str] = []

    def add(self, item: pa.Array, title: pa.Array) -> NDArray[np.int32]:
        """Encodes items, shape [N]; an item keeps the title that stands beside it first."""
        codes = self.items.add(item)
        distinct, first = np.unique(codes, return_index=True)
        self.titles += title.take(pa.array(first[distinct >= len(self.titles)])).to_pylist()
        return codes


def read_catalogue(chunks: Iterable[Chunk], broken: BrokenRows) -> Catalogue:
    """Reads a table of items.

    Args:
        chunks: Columns `item` and `title`.
        broken: Takes the rows without an item or a title.

    Raises:
        InputError: A row is broken, or there is none.
    """
    catalogue = Catalogue()
    for chunk in chunks:
        faults = {
            f"{name} {_VALUE} is empty or not UTF-8": blank(chunk.columns[name]) for name in (ITEM, TITLE)
        }
        good = _good_rows(chunk, faults, broken)
        catalogue.add(good[ITEM], good[TITLE])
    if not catalogue.titles:
        raise InputError(f"{broken.path}: no rows under the header: restore the file")
    return catalogue


def read_log(
    chunks: Iterable[Chunk],
    catalogue: Catalogue | None,
    broken: BrokenRows,
    broken_items: BrokenRows | None = None,
) -> Interactions:
    """Reads a table of interactions.

    Args:
        chunks: Columns `user`, `item`, `time`, where wanted `rating`, and `title` where there is no catalogue.
        catalogue: The items; None takes them and their titles from the interactions.
        broken: Takes the rows with an empty user or item, a time or rating that is not a number, an unknown item.
        broken_items: What was reported of the catalogue.

    Raises:
        InputError: A row is broken, or there is none.
    """
    items = catalogue or Catalogue()
    users = Vocabulary()
    parts: dict[str, list[NDArray[Any]]] = {USER: [], ITEM: [], TIME: [], RATING: []}
    for chunk in chunks:
        good = _good_rows(
            chunk, _faults(chunk, catalogue, broken_items.path.name if broken_items else ""), broken
        )
        parts[USER].append(users.add(good[USER]))
        parts[ITEM].append(items.items.find(good[ITEM]) if catalogue else items.add(good[ITEM], good[TITLE]))
        for name in (TIME, RATING):
            if name in good:
                parts[name].append(numbers(good[name]))
    if not len(users):
        raise InputError(f"{broken.path}: no rows under the header: restore the file")
    titles, title_of_item = merge_titles(items.titles)
    merged = len(items.titles) - len(titles)
    files = [each for each in (broken_items, broken) if each]
    notes = [note for each in files for note in each.notes]
    if merged:
        notes.append(f"merged {merged} items into others of the same title")
    return Interactions(
        user=np.concatenate(parts[USER]),
        item=title_of_item[np.concatenate(parts[ITEM])],
        time=np.concatenate(parts[TIME]),
        users=users.strings(),
        titles=titles,
        rating=np.concatenate(parts[RATING]) if parts[RATING] else None,
        notes=tuple(notes),
        dropped={f"broken rows of {each.path.name}, skipped": each.count for each in files if each.count},
    )


def _faults(chunk: Chunk, catalogue: Catalogue | None, catalogue_name: str) -> dict[str, NDArray[np.bool_]]:
    columns = chunk.columns
    named = [name for name in (USER, ITEM, TITLE) if name in columns]
    faults = {f"{name} {_VALUE} is empty or not UTF-8": blank(columns[name]) for name in named}
    for name in (TIME, RATING):
        if name in columns:
            faults[f"{name} {_VALUE} is not a number"] = ~np.isfinite(numbers(columns[name]))
    if catalogue:
        faults[f"item {_VALUE} is not in {catalogue_name}"] = catalogue.items.find(columns[ITEM]) < 0
    return faults


def _good_rows(
    chunk: Chunk, faults: dict[str, NDArray[np.bool_]], broken: BrokenRows
) -> Mapping[str, pa.Array]:
    """Reports the rows that have a fault, and takes them out.

    Args:
        chunk: Some rows.
        faults: Messages that begin with the column's name and take its value, with the rows they hold for.
        broken: Where to report.
    """
    bad = np.logical_or.reduce(list(faults.values()))
    if not bad.any():
        return chunk.columns
    row = int(np.argmax(bad))
    message = next(message for message, mask in faults.items() if mask[row])
    value = chunk.columns[message.split()[0]][row].as_py()
    broken.found(
        lambda: chunk.place(row), lambda: message.replace(_VALUE, f"{value!r:.60}", 1), int(bad.sum())
    )
    return {name: column.filter(pa.array(~bad)) for name, column in chunk.columns.items()}
