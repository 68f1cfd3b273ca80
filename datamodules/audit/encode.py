"""Rows of titles, as readers yield them, into numbers."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from datamodules.audit.rows import NONE, AuditData, AuditSplit
from datamodules.errors import InputError
from datamodules.interactions import fold_title

Row = tuple[list[str], list[str], str]  # history, candidates, target


class _Codes:
    """Numbers titles in the order in which they appear.

    Args:
        fold: What makes two titles the same.
    """

    def __init__(self, fold: Callable[[str], str]) -> None:
        self._fold = fold
        self._index: dict[str, int] = {}
        self.titles: list[str] = []

    def __call__(self, title: str) -> int:
        key = self._fold(title)
        if key not in self._index:
            self._index[key] = len(self.titles)
            self.titles.append(title)
        return self._index[key]


def same_title(title: str) -> str:
    """Folds what a language model recommender does not tell apart: case and white space."""
    return fold_title(title).casefold()


def encode(splits: Mapping[str, Iterable[Row]], fold: Callable[[str], str], ordered: bool) -> AuditData:
    """Encodes what a reader yields.

    Args:
        splits: Rows of every split, earlier splits first.
        fold: What makes two titles the same item.
        ordered: Whether the model sees the order of the candidates.

    Raises:
        InputError: A split is empty.
    """
    codes = _Codes(fold)
    encoded = []
    for name, rows in splits.items():
        histories, lists, targets = [], [], []
        for history, candidates, target in rows:
            histories.append([codes(title) for title in history])
            lists.append([codes(title) for title in candidates])
            targets.append(codes(target))
        if not targets:
            raise InputError(f"the {name} split has no rows: restore its file")
        encoded.append(
            AuditSplit(
                name, _matrix(histories, True), _matrix(lists, False), np.array(targets, dtype=np.int32)
            )
        )
    return AuditData(tuple(encoded), codes.titles, ordered)


def _matrix(rows: list[list[int]], right_aligned: bool) -> NDArray[np.int32]:
    lengths = np.array([len(row) for row in rows])
    values = np.array([item for row in rows for item in row], dtype=np.int32)
    return padded(values, lengths, right_aligned)


def padded(values: NDArray[np.int32], lengths: NDArray[np.int64], right_aligned: bool) -> NDArray[np.int32]:
    """Lays rows that follow each other in `values` into a matrix."""
    width = max(1, int(lengths.max(initial=0)))
    columns = np.arange(width)[None, :]
    there = columns >= width - lengths[:, None] if right_aligned else columns < lengths[:, None]
    matrix = np.full((len(lengths), width), NONE, dtype=np.int32)
    matrix[there] = values
    return matrix
