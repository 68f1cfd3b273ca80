"""Any of the formats, for the audit."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from datamodules.audit.encode import Row, encode, same_title
from datamodules.audit.rows import AuditData, AuditSplit
from datamodules.errors import InputError
from datamodules.examples import SPLITS, build_examples
from datamodules.interactions import Interactions
from datamodules.negatives import SeenItems, UniformProposals, draw_candidates
from datamodules.sources import PreferenceFiles, RecBoleSource, TableSource
from datamodules.sources.broken import BrokenRows
from datamodules.sources.history_split import SplitByTitles
from datamodules.sources.json_rows import json_rows
from datamodules.sources.log_builder import REPEATED_ROWS
from datamodules.sources.opened import content_suffix
from datamodules.sources.recbole import field_names
from datamodules.sources.sdpo import ListedRow, listed_titles
from datamodules.sources.table_chunks import column_names

# The defaults of RecommendationDataModule; a test compares them.
MIN_HISTORY, MAX_HISTORY, NUM_CANDIDATES, SEED = 3, 10, 20, 0

_SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLIT_WORDS |= {"dev": "val", "test": "test", "testing": "test"}
_USUAL = {
    "user": ("user", "user_id"),
    "item": ("item", "item_id"),
    "time": ("time", "timestamp"),
    "title": ("title",),
}
_FORMATS = (
    "*.json (S-DPO), *.jsonl (preferences), *.csv, *.tsv, *.parquet, a RecBole folder or an examples-* folder"
)


def read_audit_data(
    path: Path, skip_broken_rows: bool = False, columns: Mapping[str, str] | None = None
) -> AuditData:
    """Reads a file or a folder of any format.

    Args:
        path: An S-DPO JSON file or a folder of them, a preference JSONL file or a folder of them, a table of
            interactions (CSV, TSV, Parquet; JSON with `columns`), a RecBole folder, or a folder of built examples.
            Files may be compressed, see `open_bytes`.
        skip_broken_rows: Skip and count rows that cannot be used instead of refusing the file.
        columns: Columns or fields of interactions with the `user`, `item`, `time` and `title`; those left out are found
            by their usual names.

    Raises:
        InputError: The format is unknown or the content broken.
    """
    columns = columns or {}
    if path.is_file():
        return _read_file(path, skip_broken_rows, columns)
    if not path.is_dir():
        raise InputError(f"{path} does not exist: give a file or a folder")
    if inter := sorted(path.glob("*.inter")):
        return from_interactions(_recbole(inter[0], skip_broken_rows, columns))
    _refuse_columns(path, columns)
    if (path / "items.parquet").is_file():
        return _stored(path)
    for pattern, read in (("*.json", read_sdpo), ("*.jsonl", read_preferences)):
        if files := sorted(path.glob(pattern)):
            return read(_named_splits(files), skip_broken_rows)
    raise InputError(f"{path} holds no format that is known: give {_FORMATS}")


def _refuse_columns(path: Path, columns: Mapping[str, str]) -> None:
    if columns:
        raise InputError(f"{path} has no columns to name: leave --{next(iter(columns))} out")


def _read_file(path: Path, skip: bool, columns: Mapping[str, str]) -> AuditData:
    suffix = content_suffix(path)
    if suffix == ".inter":
        return from_interactions(_recbole(path, skip, columns))
    if suffix in (".csv", ".tsv", ".parquet") or (columns and suffix in (".json", ".jsonl")):
        return from_interactions(_table(path, "\t" if suffix == ".tsv" else ",", skip, columns))
    _refuse_columns(path, columns)
    if suffix == ".json":
        return read_sdpo({_split_of(path) or path.stem: path}, skip)
    if suffix == ".jsonl":
        return read_preferences({_split_of(path) or path.stem: path}, skip)
    raise InputError(f"{path}: the ending {suffix!r} is no format that is known: give {_FORMATS}")


def _split_of(path: Path) -> str | None:
    words = re.split(r"[^a-z]+", path.stem.lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)


def _named_splits(files: list[Path]) -> dict[str, Path]:
    """Names files by the split in their name, earlier splits first."""
    if len(files) == 1:
        return {_split_of(files[0]) or files[0].stem: files[0]}
    named: dict[str, Path] = {}
    for path in files:
        split = _split_of(path)
        if split is None:
            raise InputError(f"{path} names no split: put train, val or test into its name, or give one file")
        if split in named:
            raise InputError(
                f"{path} and {named[split].name} are both {split}: give a folder with one file a split"
            )
        named[split] = path
    return {split: named[split] for split in SPLITS if split in named}


def read_sdpo(files: dict[str, Path], skip: bool) -> AuditData:
    """Reads S-DPO / LLaRA JSON; unlike in training, a target may be absent from its list, which is then counted.

    Args:
        files: A file a split, earlier splits first.
        skip: Skip and count broken rows.

    Raises:
        InputError: A file is not such an array.
    """
    broken = {name: BrokenRows(path, skip) for name, path in files.items()}
    split = SplitByTitles(listed_titles(files.values()))
    data = encode(
        {name: _listed_rows(each, split) for name, each in broken.items()}, same_title, ordered=True
    )
    return replace(data, skipped=sum(each.count for each in broken.values()))


def _listed_rows(broken: BrokenRows, split: SplitByTitles) -> Iterator[Row]:
    for line, value in json_rows(broken):
        try:
            row = ListedRow.parse(value, split)
        except ValueError as error:
            broken.at(f"line {line}", str(error))
        else:
            yield row.history, row.candidates, row.target


def read_preferences(files: dict[str, Path], skip: bool) -> AuditData:
    """Reads preferences.

    The prompt stands for the history: rows with the same prompt and the same chosen response are one example.

    Args:
        files: A file a split, earlier splits first.
        skip: Skip and count broken rows.

    Raises:
        InputError: A line is not such a row.
    """
    skipped: dict[str, int | str] = {}
    rows = {name: _preferences(path, skip, skipped) for name, path in files.items()}
    data = encode(rows, str.strip, ordered=False)
    return replace(data, skipped=sum(map(int, skipped.values())))


def _preferences(path: Path, skip: bool, skipped: dict[str, int | str]) -> Iterator[Row]:
    for row in PreferenceFiles(str(path), skip_broken_rows=skip).read(skipped):
        # A prompt is no response, even where the two read alike.
        yield [f"prompt: {row.prompt}"], list(row.responses), row.responses[0]


def _stored(folder: Path) -> AuditData:
    from datamodules.audit.stored import stored_data  # takes seconds to import, and only this format needs it
    from datamodules.store import read_store

    return stored_data(read_store(folder))


def from_interactions(log: Interactions) -> AuditData:
    """Builds examples and candidates as the data module does by default."""
    examples = build_examples(log, MIN_HISTORY, MAX_HISTORY, SEED)
    seen, proposals = SeenItems(log.user, log.item, len(log.titles)), UniformProposals(len(log.titles))
    candidates = draw_candidates(
        seen, examples.id, examples.user, examples.target, proposals, NUM_CANDIDATES, SEED, log.users
    )
    whole = AuditSplit("all", examples.history[:], candidates, examples.target, examples.time, examples.user)
    splits = tuple(
        replace(whole.take(np.flatnonzero(examples.split == index)), name=name)
        for index, name in enumerate(SPLITS)
    )
    dropped = dict(log.dropped)
    repeated = dropped.pop(REPEATED_ROWS, 0)
    notes = (*log.notes, *([f"{REPEATED_ROWS}: {repeated}"] if repeated else []))
    return AuditData(splits, log.titles, skipped=sum(dropped.values()), notes=notes)


def _recbole(inter: Path, skip: bool, columns: Mapping[str, str]) -> Interactions:
    items = inter.with_suffix(".item")
    fields = field_names(items)
    title = columns.get("title") or next(
        (field for field in ("title", *fields) if field in fields and field.endswith(("title", "name"))), None
    )
    if title is None:
        raise InputError(f"{items}: no field with a title among {fields}: name one with --title")
    source = RecBoleSource(
        str(inter.parent),
        title_field=title,
        name=inter.stem,
        user_field=columns.get("user", "user_id"),
        item_field=columns.get("item", "item_id"),
        time_field=columns.get("time", "timestamp"),
        skip_broken_rows=skip,
    )
    return source.read(inter.parent)


def _table(path: Path, delimiter: str, skip: bool, columns: Mapping[str, str]) -> Interactions:
    names = column_names(path, delimiter)
    user, item, time, title = (
        _column(path, name, names, columns.get(name)) for name in ("user", "item", "time", "title")
    )
    source = TableSource(
        str(path),
        user_field=user,
        item_field=item,
        time_field=time,
        title_field=title,
        delimiter=delimiter,
        skip_broken_rows=skip,
    )
    return source.read(path.parent)


def _column(path: Path, name: str, names: list[str], given: str | None) -> str:
    """Find a column: the one that is given, or one with a usual name."""
    usual = _USUAL[name] if given is None else (given,)
    found = next((column for column in usual if column in names), None)
    if found is None:
        raise InputError(
            f"{path}: no column {usual[0]!r} with the {name} among {names}: name one with --{name}"
        )
    return found
