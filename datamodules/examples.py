"""From interactions to examples: a target, the history before it, and the split its time puts it in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.draws import Stream, random_bits
from datamodules.errors import InputError
from datamodules.interactions import Interactions

SPLITS = ("train", "val", "test")
_ROWS = 1 << 14


class Histories:
    """The items before each target, looked up when they are asked for: all at once they would be most of the memory.

    Args:
        items: Items in the order in which they were consumed, one user after the other, shape [M].
        end: Index into `items` one past the last item before the target, shape [N].
        length: How many items before it are the user's, shape [N].
        most: Most recent items that are kept.
    """

    def __init__(
        self, items: NDArray[np.int32], end: NDArray[np.integer], length: NDArray[np.integer], most: int
    ) -> None:
        self._items = items
        self._end = end
        self._length = length
        self._most = most

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.int32]:
        """Looks up some rows: items oldest first, right-aligned, -1 where there is none, shape [n, most]."""
        back = np.arange(self._most, 0, -1)
        index = np.maximum(self._end[rows][:, None] - back, 0)
        return np.where(back <= self._length[rows][:, None], self._items[index], np.int32(-1))


@dataclass(frozen=True)
class Examples:
    """One row per target interaction.

    Attributes:
        id: Row of the target in the source, shape [N]; every random draw of an example hangs on it.
        user: Index of the user, shape [N].
        target: Index of the item to predict, shape [N].
        time: Time of the target, shape [N]; None where the source has none.
        history: Items before the target; N rows.
        split: Index into `SPLITS`, shape [N].
        skipped_users: Users with too few interactions for even one example.
    """

    id: NDArray[np.int64]
    user: NDArray[np.int32]
    target: NDArray[np.int32]
    time: NDArray[np.float64] | None
    history: Histories
    split: NDArray[np.int8]
    skipped_users: int

    def __len__(self) -> int:
        return len(self.id)

    def repeated_targets(self) -> tuple[int, int]:
        """Count the targets that stand in their own history, and of these the ones that are its last item."""
        anywhere = last = 0
        for start in range(0, len(self), _ROWS):
            part = slice(start, start + _ROWS)
            same = self.history[part] == self.target[part, None]
            anywhere += int(same.any(axis=1).sum())
            last += int(same[:, -1].sum())
        return anywhere, last


def time_cuts(time: NDArray[np.float64], train: float, val: float) -> tuple[float, float]:
    """Finds the two global times that cut a log into train, val and test.

    Args:
        time: Times of all interactions, shape [N].
        train: Share of interactions before the first cut.
        val: Share between the cuts.

    Returns:
        The cuts; an interaction at a cut belongs to the later split.
    """
    ordered = np.sort(time)
    first, second = (min(int(len(ordered) * share), len(ordered) - 1) for share in (train, train + val))
    return float(ordered[first]), float(ordered[second])


def build_examples(
    log: Interactions,
    min_history: int,
    max_history: int,
    seed: int,
    train_share: float = 0.8,
    val_share: float = 0.1,
) -> Examples:
    """Makes an example of every interaction that has enough history.

    The order of interactions at the same time is drawn from the seed: ordered by id, "the next larger id"
    alone would be a strong rule.

    Args:
        log: The interactions.
        min_history: Fewest items before a target.
        max_history: Most recent items that are kept.
        seed: Decides the order of ties.
        train_share: Share of interactions before the first global time cut.
        val_share: Share of interactions between the two cuts.

    Returns:
        Examples in the order of the source.

    Raises:
        InputError: No user has enough history, or a split is empty.
    """
    order = _consumption_order(log, seed)
    position, longest = _positions(log.user[order])
    # Back into the order of the source, where the rows that are targets are found sorted.
    place, before = np.empty_like(position), np.empty_like(position)
    place[order] = np.arange(len(order), dtype=np.int32)
    before[order] = position
    ids = np.flatnonzero(before >= min_history)
    if not len(ids):
        raise InputError(
            f"no user has more than {min_history} interactions: lower min_history or bring more data"
        )
    time = log.time[ids]
    if log.time.min() == log.time.max():
        raise InputError(
            f"all times are equal ({log.time[0]:g}), and splits are cut at times: name the column with the times"
        )
    split = np.digitize(time, time_cuts(log.time, train_share, val_share)).astype(np.int8)
    _require_all_splits(split)
    return Examples(
        id=ids,
        user=log.user[ids],
        target=log.item[ids],
        time=time,
        history=Histories(log.item[order], place[ids], before[ids], max_history),
        split=split,
        skipped_users=int((longest < min_history).sum()),
    )


def _consumption_order(log: Interactions, seed: int) -> NDArray[np.int64]:
    """Orders rows by user, time and a draw, shape [N]."""
    tie = random_bits(seed, Stream.TIE_ORDER, np.arange(len(log)), 1)[:, 0]
    return np.lexsort((tie, log.time, log.user))


def _positions(user: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Counts within runs of one user: 0, 1, … for every row [N], and the last count of every run."""
    last = np.flatnonzero(np.append(user[1:] != user[:-1], True))
    lengths = np.diff(last, prepend=-1)
    position = np.arange(len(user), dtype=np.int32)
    position -= np.repeat((last + 1 - lengths).astype(np.int32), lengths)
    return position, position[last]


def _require_all_splits(split: NDArray[np.int8]) -> None:
    for index, name in enumerate(SPLITS):
        if not (split == index).any():
            raise InputError(
                f"the {name} split is empty: the global time cuts leave no example in it; bring more data or lower "
                "min_history"
            )
