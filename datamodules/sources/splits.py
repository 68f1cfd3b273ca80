"""Splits that are files: which file is which, and rows held out of training where there is none for validation."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.checks import require_text
from datamodules.data_record import content_digest
from datamodules.draws import Stream, uniforms
from datamodules.examples import SPLITS
from datamodules.sources.base import SourceSettings, sha256
from datamodules.sources.opened import require_file

TRAIN, VAL, _ = range(len(SPLITS))


@dataclass(frozen=True)
class SplitFiles:
    """One file per split.

    Args:
        train: Rows to train on.
        val: Rows to validate on; None holds rows out of `train`.
        test: Rows to test on; None leaves the test split empty.
        val_share: Share of the rows of `train` that are held out where there is no `val`.
    """

    train: str
    val: str | None
    test: str | None
    val_share: float

    def __post_init__(self) -> None:
        require_text(train=self.train, val=self.val, test=self.test)
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share={self.val_share} must lie between 0 and 1")

    def __iter__(self) -> Iterator[tuple[int, Path]]:
        """Yields the index of a split and its file, in the order in which rows are numbered."""
        for split, path in enumerate((self.train, self.val, self.test)):
            if path is not None:
                yield split, Path(path)

    def settings(self, reader: str, **settings: Any) -> SourceSettings:
        """Identify what is read from the files.

        Args:
            reader: Name of the class that reads them.
            settings: Its settings, plain.
        """
        content = {SPLITS[split]: content_digest([sha256(require_file(path))]) for split, path in self}
        training = {
            "class_path": reader,
            "train": content["train"],
            "val": content.get("val"),
            "val_share": None if self.val else self.val_share,
            **settings,
        }
        return SourceSettings.of(training, {"test": content.get("test")})

    def split_at_random(
        self, of_file: NDArray[np.int8], ids: NDArray[np.int64], seed: int
    ) -> NDArray[np.int8]:
        """Says which split each row is in, where rows have nothing to do with each other.

        Args:
            of_file: Split of the file a row stands in, shape [N].
            ids: Number of the row over all files, shape [N].
            seed: With the id it decides whether a row is held out.

        Returns:
            Indices into `SPLITS`, shape [N].
        """
        if self.val is not None:
            return of_file
        held_out = (of_file == TRAIN) & (uniforms(seed, Stream.HELD_OUT, ids, 1)[:, 0] < self.val_share)
        return np.where(held_out, np.int8(VAL), of_file)

    def split_at_end(self, of_file: NDArray[np.int8]) -> NDArray[np.int8]:
        """Says which split each row is in, where neighbours are windows over one sequence.

        A row held out between its neighbours would be one that was all but trained on, so the last ones are.

        Args:
            of_file: Split of the file a row stands in, in the files' order, shape [N].

        Returns:
            Indices into `SPLITS`, shape [N].
        """
        if self.val is not None:
            return of_file
        rows = np.flatnonzero(of_file == TRAIN)
        found = of_file.copy()
        found[rows[round((1 - self.val_share) * len(rows)) :]] = VAL
        return found
