"""From chunks of text to an interaction log: ids become integers as they stream by."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datamodules.interactions import Interactions, first_occurrences, merge_titles
from datamodules.sources.broken import BrokenRows
from datamodules.sources.chunks import Chunk, blank, numbers
from datamodules.sources.times import TimeColumn
from datamodules.sources.vocabulary import Catalogue, Vocabulary

_VALUE = "<value>"
_NO_ROWS = "no rows under the header: restore the file"
USER, ITEM, TIME, TITLE, RATING = "user", "item", "time", "title", "rating"
_SECONDS = "seconds"
REPEATED_ROWS = "rows with the user, item and time of an earlier row, dropped"


def read_catalogue(chunks: Iterable[Chunk], broken: BrokenRows) -> Catalogue:
    """Reads a table of items.

    Args:
        chunks: Columns `item` and `title`.
        broken: Takes the rows without an item or a title, and those that give an item another title than before.

    Raises:
        InputError: A row is broken, or there is none.
    """
    catalogue = Catalogue()
    for chunk in chunks:
        faults = {
            f"{name} {_VALUE} is empty or not UTF-8": blank(chunk.columns[name]) for name in (ITEM, TITLE)
        }
        good = _good_rows(chunk, faults, broken)
        codes, retitled = catalogue.add(good[ITEM], good[TITLE])
        if retitled.any():
            _report_retitled(chunk, good, catalogue, codes, retitled, broken)
    broken.require_rows(len(catalogue.titles), _NO_ROWS)
    return catalogue


def _report_retitled(
    chunk: Chunk,
    good: Mapping[str, pa.Array],
    catalogue: Catalogue,
    codes: NDArray[np.int32],
    retitled: NDArray[np.bool_],
    broken: BrokenRows,
) -> None:
    row = int(np.argmax(retitled))
    item, title = good[ITEM][row].as_py(), good[TITLE][row].as_py()

    def place() -> str:
        rows = zip(chunk.columns[ITEM].to_pylist(), chunk.columns[TITLE].to_pylist(), strict=True)
        return chunk.place(next(number for number, pair in enumerate(rows) if pair == (item, title)))

    broken.found(
        place,
        lambda: f"item {item!r} has the title {title!r} here and {catalogue.titles[codes[row]]!r} before",
        int(retitled.sum()),
    )


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
    times = TimeColumn()
    catalogue_name = broken_items.path.name if broken_items else ""
    for chunk in chunks:
        seconds = times.seconds(chunk.columns[TIME])
        faults = _faults(chunk, catalogue, catalogue_name) | _time_fault(chunk, seconds, times)
        good = _good_rows(
            replace(chunk, columns={**chunk.columns, _SECONDS: pa.array(seconds)}), faults, broken
        )
        parts[USER].append(users.add(good[USER]))
        found = items.items.find(good[ITEM]) if catalogue else items.add(good[ITEM], good[TITLE])[0]
        parts[ITEM].append(found)
        parts[TIME].append(good[_SECONDS].to_numpy())
        if RATING in good:
            parts[RATING].append(numbers(good[RATING]))
    broken.require_rows(len(users), _NO_ROWS)
    titles, title_of_item = merge_titles(items.titles)
    merged = len(items.titles) - len(titles)
    files = [each for each in (broken_items, broken) if each]
    notes = [note for each in files for note in each.notes]
    if merged:
        notes.append(f"merged {merged} items into others of the same title")
    if items.retitled and not catalogue:
        notes.append(_retitled_note(items))
    columns = {name: np.concatenate(column) for name, column in parts.items() if column}
    fresh = first_occurrences(columns[USER], columns[ITEM], columns[TIME])
    dropped = {f"broken rows of {each.path.name}, skipped": each.count for each in files if each.count}
    if not fresh.all():
        dropped[REPEATED_ROWS] = int((~fresh).sum())
        columns = {name: column[fresh] for name, column in columns.items()}
    return Interactions(
        user=columns[USER],
        item=title_of_item[columns[ITEM]],
        time=columns[TIME],
        users=users.strings(),
        titles=titles,
        rating=columns.get(RATING),
        notes=tuple(notes),
        dropped=dropped,
    )


def _retitled_note(items: Catalogue) -> str:
    item, title = next(iter(items.retitled.items()))
    return (
        f"{len(items.retitled)} items have several titles, of which the first is taken: item "
        f"{items.items.strings()[item]!r} is {items.titles[item]!r} and {title!r}"
    )


def _faults(chunk: Chunk, catalogue: Catalogue | None, catalogue_name: str) -> dict[str, NDArray[np.bool_]]:
    columns = chunk.columns
    named = [name for name in (USER, ITEM, TITLE) if name in columns]
    faults = {f"{name} {_VALUE} is empty or not UTF-8": blank(columns[name]) for name in named}
    if RATING in columns:
        faults[f"{RATING} {_VALUE} is not a number"] = ~np.isfinite(numbers(columns[RATING]))
    if catalogue:
        faults[f"item {_VALUE} is not in {catalogue_name}"] = catalogue.items.find(columns[ITEM]) < 0
    return faults


def _time_fault(
    chunk: Chunk, seconds: NDArray[np.float64], times: TimeColumn
) -> dict[str, NDArray[np.bool_]]:
    bad = ~np.isfinite(seconds)
    if not bad.any():
        return {}
    return {f"{TIME} {_VALUE} {times.fault(chunk.columns[TIME][int(np.argmax(bad))].as_py())}": bad}


def _good_rows(
    chunk: Chunk, faults: dict[str, NDArray[np.bool_]], broken: BrokenRows
) -> Mapping[str, pa.Array]:
    """Reports the rows that have a fault, and takes them out.

    Args:
        chunk: Some rows.
        faults: Messages that begin with the column's name and take its value, with the rows they hold for.
        broken: Where to report.
    """
    bad: NDArray[np.bool_] = np.logical_or.reduce(list(faults.values()))
    if not bad.any():
        return chunk.columns
    row = int(np.argmax(bad))
    message = next(message for message, mask in faults.items() if mask[row])
    value = chunk.columns[message.split()[0]][row].as_py()
    broken.found(
        lambda: chunk.place(row), lambda: message.replace(_VALUE, f"{value!r:.60}", 1), int(bad.sum())
    )
    return {name: column.filter(pa.array(~bad)) for name, column in chunk.columns.items()}
