"""Any of the formats, for the audit."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from datamodules.audit.encode import Row, encode, padded, same_title
from datamodules.audit.rows import AuditData, AuditSplit
from datamodules.errors import InputError
from datamodules.examples import SPLITS, build_examples
from datamodules.interactions import Interactions, merge_titles
from datamodules.negatives import SeenItems, UniformProposals, draw_candidates
from datamodules.sources import RecBoleSource

# The defaults of RecommendationDataModule; a test compares them.
MIN_HISTORY, MAX_HISTORY, NUM_CANDIDATES, SEED = 3, 10, 20, 0

_SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLIT_WORDS |= {"dev": "val", "test": "test", "testing": "test"}
_COLUMNS = {
    "user": ("user", "user_id"),
    "item": ("item", "item_id"),
    "time": ("time", "timestamp"),
    "title": ("title",),
}
_FORMATS = "*.json (S-DPO), *.jsonl (preferences), *.csv, *.parquet, a RecBole folder or an examples-* folder"


def read_audit_data(path: Path) -> AuditData:
    """Reads a file or a folder of any format.

    Args:
        path: An S-DPO JSON file or a folder of them, a preference JSONL file or a folder of them, a table of
            interactions (CSV, Parquet), a RecBole folder, or a folder of built examples.

    Raises:
        InputError: The format is unknown or the content broken.
    """
    if path.is_file():
        return _read_file(path)
    if not path.is_dir():
        raise InputError(f"{path} does not exist: give a file or a folder")
    if (path / "items.parquet").is_file():
        return from_store_folder(path)
    if inter := sorted(path.glob("*.inter")):
        return from_interactions(_read_recbole(inter[0]))
    for pattern, read in (("*.json", read_sdpo), ("*.jsonl", read_preferences)):
        if files := sorted(path.glob(pattern)):
            return read(_named_splits(files))
    raise InputError(f"{path} holds no format that is known: give {_FORMATS}")


def _read_file(path: Path) -> AuditData:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_sdpo({_split_of(path) or path.stem: path})
    if suffix == ".jsonl":
        return read_preferences({_split_of(path) or path.stem: path})
    if suffix == ".inter":
        return from_interactions(_read_recbole(path))
    if suffix in (".csv", ".parquet"):
        return from_interactions(_read_table(path))
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


def read_sdpo(files: dict[str, Path]) -> AuditData:
    """Reads S-DPO / LLaRA JSON: an array of `historyList` ("A::B" or a list), `itemList`, `trueSelection`.

    Args:
        files: A file a split, earlier splits first.

    Raises:
        InputError: A file is not such an array.
    """
    return encode({name: _sdpo_rows(path) for name, path in files.items()}, same_title, ordered=True)


def _sdpo_rows(path: Path) -> Iterable[Row]:
    records = _parse(path, _text(path), 1)
    if not isinstance(records, list):
        raise InputError(
            f"{path} holds {type(records).__name__}, not an array of rows: give an S-DPO JSON file"
        )
    for number, record in enumerate(records, start=1):
        history = _field(record, "historyList", (str, list), path, f"row {number}")
        if isinstance(history, str):
            history = history.split("::") if history else []
        candidates = _strings(record, "itemList", path, f"row {number}")
        yield history, candidates, _field(record, "trueSelection", (str,), path, f"row {number}")


def read_preferences(files: dict[str, Path]) -> AuditData:
    """Reads preference JSONL: `prompt`, `chosen` and the array `rejected` on every line.

    The prompt stands for the history: rows with the same prompt and the same chosen response are one example.

    Args:
        files: A file a split, earlier splits first.

    Raises:
        InputError: A line is not such a row.
    """
    return encode({name: _preference_rows(path) for name, path in files.items()}, str.strip, ordered=False)


def _preference_rows(path: Path) -> Iterable[Row]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        record = _parse(path, line, number)
        where = f"line {number}"
        chosen = _field(record, "chosen", (str,), path, where)
        rejected = _strings(record, "rejected", path, where)
        # A prompt is no response, even where the two read alike.
        yield ["prompt: " + _field(record, "prompt", (str,), path, where)], [chosen, *rejected], chosen


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, byte {error.start}: not UTF-8: convert the file") from error


def _parse(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(
            f"{path}, line {line}: {error.msg}: restore the file, it may be truncated"
        ) from error


def _field(record: Any, name: str, types: tuple[type, ...], path: Path, where: str) -> Any:
    if not isinstance(record, dict) or name not in record:
        raise InputError(f"{path}, {where}: no field {name!r}: add it or drop the row")
    if not isinstance(record[name], types):
        raise InputError(f"{path}, {where}: {name} is {record[name]!r:.60}, not text: mend the row")
    return record[name]


def _strings(record: Any, name: str, path: Path, where: str) -> list[str]:
    values: list[str] = _field(record, name, (list,), path, where)
    if not values or not all(isinstance(value, str) for value in values):
        raise InputError(f"{path}, {where}: {name} is {values!r:.60}, not an array of titles: mend the row")
    return values


def from_store_folder(folder: Path) -> AuditData:
    """Reads a folder of built examples."""
    from datamodules.store import read_store  # takes seconds to import, and only this format needs it

    store = read_store(folder)
    return AuditData(tuple(_store_split(name, split) for name, split in store.splits.items()), store.titles)


def _store_split(name: str, split: Any) -> AuditSplit:
    table = split.data.table
    columns = {
        column: table[column].combine_chunks()
        for column in ("history", "candidates", "target", "time", "user")
    }
    history, candidates = (
        padded(columns[column].flatten().to_numpy(), pc.list_value_length(columns[column]).to_numpy(), right)
        for column, right in (("history", True), ("candidates", False))
    )
    target, time, user = (columns[column].to_numpy() for column in ("target", "time", "user"))
    # A source without times has none in its store either.
    return AuditSplit(name, history, candidates, target, None if np.isnan(time).any() else time, user)


def from_interactions(log: Interactions) -> AuditData:
    """Builds examples and candidates as the data module does by default."""
    examples = build_examples(log, MIN_HISTORY, MAX_HISTORY, SEED)
    seen, proposals = SeenItems(log.user, log.item, len(log.titles)), UniformProposals(len(log.titles))
    candidates = draw_candidates(
        seen, examples.id, examples.user, examples.target, proposals, NUM_CANDIDATES, SEED
    )
    whole = AuditSplit("all", examples.history[:], candidates, examples.target, examples.time, examples.user)
    splits = []
    for index, name in enumerate(SPLITS):
        part = whole.take(np.flatnonzero(examples.split == index))
        splits.append(AuditSplit(name, part.history, part.candidates, part.target, part.time, part.user))
    return AuditData(tuple(splits), log.titles)


def _read_recbole(inter: Path) -> Interactions:
    items = inter.with_suffix(".item")
    if not items.is_file():
        raise InputError(f"{items} is missing: a RecBole folder needs it for the titles")
    with items.open(encoding="utf-8", errors="replace") as file:
        fields = [field.split(":")[0] for field in file.readline().rstrip("\r\n").split("\t")]
    title = next((field for field in fields if field == "title" or field.endswith(("title", "name"))), None)
    if title is None:
        raise InputError(f"{items}: no field with a title among {fields}: name one of them title")
    return RecBoleSource(str(inter.parent), title_field=title, name=inter.stem).read(inter.parent)


def _read_table(path: Path) -> Interactions:
    try:
        table = pq.read_table(path) if path.suffix.lower() == ".parquet" else csv.read_csv(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}: restore the file") from error
    columns = {name: _column(table, name, path) for name in _COLUMNS}
    try:
        time = pc.cast(columns["time"], pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}: a time is not a number ({str(error).splitlines()[0]}): mend the row"
        ) from error
    users = pc.cast(columns["user"], pa.string()).combine_chunks().dictionary_encode()
    titles, item = merge_titles(pc.cast(columns["title"], pa.string()).to_pylist())
    return Interactions(
        user=users.indices.to_numpy().astype(np.int32),
        item=item,
        time=time,
        users=users.dictionary.to_pylist(),
        titles=titles,
    )


def _column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    found = next((column for column in _COLUMNS[name] if column in table.column_names), None)
    if found is None:
        raise InputError(
            f"{path}: no column {_COLUMNS[name][0]!r} among {table.column_names}: rename the right one"
        )
    if table[found].null_count:
        raise InputError(
            f"{path}: column {found!r} has {table[found].null_count} empty values: mend the rows"
        )
    return table[found]
