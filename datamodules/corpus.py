"""What every kind of source ends in: examples over one catalogue, ready to be given candidates and prompts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from datamodules.examples import Examples
from datamodules.negatives import SeenItems


@dataclass(frozen=True)
class ExampleRules:
    """How examples are cut.

    Attributes:
        min_history: Fewest items before a target.
        max_history: Most recent items that are kept.
        seed: Decides ties and held-out rows.
    """

    min_history: int
    max_history: int
    seed: int


@dataclass(frozen=True)
class Corpus:
    """Examples and what drawing candidates and counting need to know.

    Attributes:
        examples: One row per target.
        titles: Title of every item.
        users: Source id of every user.
        seen: Items of every user over all splits, which are no negatives of theirs.
        train_log: User and item of everything a rule that counts may see, two arrays [M].
        lists: Candidate lists that the source brings, shape [N, C]; None where it brings none.
        report: What was read and dropped.
    """

    examples: Examples
    titles: list[str]
    users: list[str]
    seen: SeenItems
    train_log: tuple[NDArray[np.int32], NDArray[np.int32]]
    lists: NDArray[np.int32] | None
    report: Mapping[str, int | str]

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """Occurrences of every item in `train_log`, shape [items]."""
        return np.bincount(self.train_log[1], minlength=len(self.titles))
