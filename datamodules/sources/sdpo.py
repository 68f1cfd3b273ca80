"""The JSON files of S-DPO, DynamicPO and LLaRA: examples that bring their candidates, without users or times."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.corpus import Corpus, ExampleRules
from datamodules.errors import InputError
from datamodules.examples import SPLITS, Examples, Histories
from datamodules.interactions import TitleIndex
from datamodules.negatives import SeenItems
from datamodules.sources.base import Source, SourceSettings
from datamodules.sources.broken import BrokenRows
from datamodules.sources.history_split import (
    SEPARATOR,
    HistorySplit,
    SplitByTitles,
    TitlesNeeded,
    split_plainly,
)
from datamodules.sources.json_rows import json_rows
from datamodules.sources.splits import TRAIN, VAL, SplitFiles

_HISTORY, _LIST, _TARGET = "historyList", "itemList", "trueSelection"


@dataclass(frozen=True)
class ListedRow:
    """One row, as text.

    Attributes:
        history: Titles before the target, oldest first.
        candidates: Titles in the order of the list.
        target: The title to predict.
    """

    history: list[str]
    candidates: list[str]
    target: str

    @classmethod
    def parse(cls, value: Any, split: HistorySplit) -> "ListedRow":
        """Takes a JSON value apart.

        Args:
            value: The value.
            split: Splits a history that is one string.

        Raises:
            ValueError: It is no such row; the message says what is wrong with it.
        """
        if not isinstance(value, dict):
            raise ValueError(f"{str(value)[:40]!r} is not an object")
        if absent := [field for field in (_HISTORY, _LIST, _TARGET) if field not in value]:
            raise ValueError(f"no field {absent[0]!r} among {sorted(value)}")
        history = value[_HISTORY]
        history = _texts(_HISTORY, split(history) if isinstance(history, str) else history)
        candidates = _texts(_LIST, value[_LIST])
        if not candidates:
            raise ValueError(f"{_LIST} is empty")
        return cls(history, candidates, *_texts(_TARGET, [value[_TARGET]]))


def _texts(field: str, titles: Any) -> list[str]:
    if not isinstance(titles, list) or not set(map(type, titles)) <= {str}:
        raise ValueError(f"{field} {str(titles)[:40]!r} is not text in the form it must have")
    return titles


def listed_titles(paths: Iterable[Path]) -> set[str]:
    """Collect the titles of all candidate lists and targets.

    Args:
        paths: Files in the format; what they hold that is broken is passed over.

    Raises:
        InputError: A file is missing or no JSON.
    """
    titles: set[str] = set()
    for path in paths:
        for _, value in json_rows(BrokenRows(path, skip=True)):
            if isinstance(value, dict):
                listed = value.get(_LIST)
                found = [*(listed if isinstance(listed, list) else []), value.get(_TARGET)]
                titles.update(title for title in found if isinstance(title, str))
    return titles


class SDPOSource(Source):
    """Rows with `historyList` ("A::B" or a list), `itemList` and `trueSelection`; further fields are ignored.

    A file is a JSON array or has a row a line, plain, gzip or alone in a zip.

    Titles that hold colons themselves make "A::B" ambiguous: the titles of all lists and targets decide, and what they
    leave open is a broken row.

    There are no users: every row is a user of its own, whose history and target are no negatives of theirs. Published
    lists give the target away (`python -m datamodules.audit`), which is why they are re-drawn unless the config
    asks for them with `candidates`.

    Args:
        train: File to train on; it may be the published validation file.
        test: File to test on.
        val: File to validate on; None holds out the last rows of `train`: published rows are
            windows over sequences, and neighbours share all items but one.
        val_share: Their share.
        skip_broken_rows: Skip and count rows that cannot be used instead of refusing the file.
    """

    def __init__(
        self,
        train: str,
        test: str,
        val: str | None = None,
        val_share: float = 0.1,
        skip_broken_rows: bool = False,
    ) -> None:
        self.files = SplitFiles(train, val, test, val_share)
        self._skip = skip_broken_rows

    def settings(self, cache_dir: Path) -> SourceSettings:
        """Everything that decides what `load` returns."""
        return self.files.settings(type(self).__name__, skip_broken_rows=self._skip)

    def load(self, cache_dir: Path, rules: ExampleRules) -> Corpus:
        """Reads the files; examples keep their order.

        Raises:
            InputError: A file is missing or broken, or a split is empty.
        """
        try:
            return self._read(rules, split_plainly)
        except TitlesNeeded:  # which is rare, and collecting titles means reading everything twice
            return self._read(rules, SplitByTitles(listed_titles(path for _, path in self.files)))

    def _read(self, rules: ExampleRules, split_history: HistorySplit) -> Corpus:
        rows = _Rows(rules, split_history)
        report: dict[str, int | str] = {}
        for split, path in self.files:
            broken = BrokenRows(path, self._skip)
            broken.require_rows(rows.read(split, path, broken))
            if broken.count:
                report[f"broken rows of {path.name}, skipped"] = broken.count
        return rows.corpus(self.files, report)


class _Rows:
    """Collects rows as integers."""

    def __init__(self, rules: ExampleRules, split_history: HistorySplit) -> None:
        self._rules = rules
        self._split_history = split_history
        self._index = TitleIndex()
        self._number = self._short = 0
        self._width = 0
        self._users: list[str] = []
        self._id, self._split = array("q"), array("b")
        self._target, self._lists = array("i"), array("i")
        self._history, self._history_lengths = array("i"), array("i")

    def read(self, split: int, path: Path, broken: BrokenRows) -> int:
        """Read a file; return how many of its rows can be used."""
        good = 0
        for line, value in json_rows(broken):
            known = self._index.mark()
            try:
                self._add(split, path, line, *self._numbers(ListedRow.parse(value, self._split_history)))
            except ValueError as error:
                self._index.forget_since(known)  # or items that are in no example could be drawn as negatives
                broken.at(f"line {line}", str(error))
            else:
                good += 1
            self._number += 1
        return good

    def _add(
        self, split: int, path: Path, line: int, history: list[int], candidates: list[int], target: int
    ) -> None:
        self._width = self._width or len(candidates)
        if len(history) < self._rules.min_history:
            self._short += 1
            return
        self._id.append(self._number)
        self._split.append(split)
        self._users.append(f"{path.name}:{line}")
        self._target.append(target)
        self._lists.extend(candidates)
        self._history.extend(history)
        self._history_lengths.append(len(history))

    def _numbers(self, row: ListedRow) -> tuple[list[int], list[int], int]:
        """Turns titles into items; a `ValueError` says what is wrong with the row."""
        history = self._items(_HISTORY, row.history)
        candidates = self._items(_LIST, row.candidates)
        (target,) = self._items(_TARGET, [row.target])
        if len(candidates) != (self._width or len(candidates)):
            raise ValueError(f"{_LIST} holds {len(candidates)} titles and the rows before hold {self._width}")
        if target not in candidates:
            raise ValueError(f"{_TARGET} {row.target!r} is not in {_LIST}")
        if len(set(candidates)) < len(candidates):
            raise ValueError(f"{_LIST} names an item twice")
        return history, candidates, target

    def _items(self, field: str, titles: list[str]) -> list[int]:
        try:
            return self._index.add_all(titles)
        except ValueError as error:
            raise ValueError(f"{field} holds {error}") from error

    def corpus(self, files: SplitFiles, report: dict[str, int | str]) -> Corpus:
        if self._split_history is split_plainly and any(SEPARATOR in title for title in self._index.titles):
            raise TitlesNeeded  # one of the histories may hold it, in pieces
        ids, target = np.array(self._id, dtype=np.int64), np.array(self._target, dtype=np.int32)
        split = files.split_at_end(np.array(self._split, dtype=np.int8))
        for index, path in [*files, (VAL, files.train)]:
            if not (split == index).any():
                raise InputError(
                    f"{path}: the {SPLITS[index]} split is empty: lower min_history or bring more rows"
                )
        user = np.arange(len(ids), dtype=np.int32)
        lengths = np.array(self._history_lengths, dtype=np.int64)
        log_user = np.concatenate([np.repeat(user, lengths), user])
        log_item = np.concatenate([np.array(self._history, dtype=np.int32), target])
        in_train = split[log_user] == TRAIN
        examples = Examples(
            id=ids,
            user=user,
            target=target,
            time=None,
            history=Histories(log_item, np.cumsum(lengths), lengths, self._rules.max_history),
            split=split,
            skipped_users=self._short,
        )
        titles = self._index.titles
        return Corpus(
            examples=examples,
            titles=titles,
            users=self._users,
            seen=SeenItems(log_user, log_item, len(titles)),
            train_log=(log_user[in_train], log_item[in_train]),
            lists=np.array(self._lists, dtype=np.int32).reshape(len(ids), self._width),
            report={
                "items": len(titles),
                "rows": self._number,
                **report,
                "rows with too short a history, skipped": self._short,
            },
        )
