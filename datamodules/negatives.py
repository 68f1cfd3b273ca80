"""Negatives of an example, drawn and ordered per example.

Seeding by the target (as the published LastFM files do) makes the target's place a function of the target.
Here every draw hangs on (seed, example id).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.draws import Stream, random_bits, uniforms
from datamodules.errors import InputError

_CHUNK = 16384
_ROUNDS = 4


class Proposals(ABC):
    """How likely each item of a catalogue is to be proposed as a negative."""

    num_items: int

    @abstractmethod
    def items(self, bits: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Turns random words into items, same shape."""

    @abstractmethod
    def order(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turns a uniform per item into a key, shape [num_items]: the least keys are a draw without replacement."""


class UniformProposals(Proposals):
    """Every item alike.

    Args:
        num_items: Size of the catalogue.
    """

    def __init__(self, num_items: int) -> None:
        self.num_items = num_items

    def items(self, bits: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Takes the remainder; its bias is below num_items / 2^64."""
        return (bits % np.uint64(self.num_items)).astype(np.int64)

    def order(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """The uniforms themselves."""
        return uniform


class WeightedProposals(Proposals):
    """Items in proportion to a weight.

    Args:
        weights: Positive, shape [num_items].
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self.num_items = len(weights)
        self._weights = weights
        self._cumulative = np.cumsum(weights) / weights.sum()

    def items(self, bits: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Inverts the cumulative distribution."""
        place = np.searchsorted(self._cumulative, (bits >> np.uint64(11)) * 2.0**-53, side="right")
        return np.minimum(place, self.num_items - 1)

    def order(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Exponential arrival times with the weights as rates (Efraimidis and Spirakis, 2006)."""
        return -np.log1p(-uniform) / self._weights


class SeenItems:
    """Answers, for many (user, item) pairs at once, whether the user ever consumed the item."""

    def __init__(self, user: NDArray[np.int32], item: NDArray[np.int32], num_items: int) -> None:
        keys = user.astype(np.int64)
        keys *= num_items
        keys += item
        keys.sort()  # in place, where `np.unique` would hash: 11 million take 0.1 s instead of 15
        first = np.ones(len(keys), dtype=bool)
        np.not_equal(keys[1:], keys[:-1], out=first[1:])
        self._keys = keys[first]
        self._num_items = num_items

    def count(self, user: NDArray[np.int32]) -> NDArray[np.int64]:
        """Distinct items of each user, same shape as `user`."""
        low = user.astype(np.int64) * self._num_items
        return np.searchsorted(self._keys, low + self._num_items) - np.searchsorted(self._keys, low)

    def contains(self, user: NDArray[np.int32], item: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether `user` [N] consumed `item` [N, M]; shape [N, M]."""
        keys = user.astype(np.int64)[:, None] * self._num_items + item
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return self._keys[place] == keys


def draw_candidates(
    seen: SeenItems,
    ids: NDArray[np.int64],
    user: NDArray[np.int32],
    target: NDArray[np.int32],
    proposals: Proposals,
    num_candidates: int,
    seed: int,
    names: Sequence[str] | None = None,
) -> NDArray[np.int32]:
    """Draws each example's negatives from the items its user never consumed, and shuffles the target in.

    Args:
        seen: All items of all users, over all splits.
        ids: Example ids, shape [N].
        user: Users, shape [N].
        target: Targets, shape [N].
        proposals: How likely each item of the catalogue is.
        num_candidates: Length of a list, the target included.
        seed: With the example's id it determines everything.
        names: The users' ids in the source, for the error.

    Returns:
        Items in the order of the list, shape [N, num_candidates].

    Raises:
        InputError: A user has not enough items left to draw from.
    """
    num_items = proposals.num_items
    left = num_items - seen.count(user)
    if (left < num_candidates - 1).any():
        worst = int(np.argmin(left))
        name = "a user" if names is None else f"user {names[user[worst]]}"
        raise InputError(
            f"{name} leaves {left[worst]} of {num_items} items to draw {num_candidates - 1} negatives "
            "from: lower num_candidates or bring a larger catalogue"
        )
    lists = []
    for start in range(0, len(ids), _CHUNK):
        part = slice(start, start + _CHUNK)
        negatives = _draw_negatives(seen, ids[part], user[part], proposals, num_candidates - 1, seed)
        lists.append(shuffle(np.concatenate([target[part][:, None], negatives], axis=1), ids[part], seed))
    return np.concatenate(lists).astype(np.int32)


def shuffle(lists: NDArray[np.int64], ids: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Shuffles each example's list by (seed, example id), shape [N, C]."""
    order = np.argsort(uniforms(seed, Stream.CANDIDATE_ORDER, ids, lists.shape[1]), axis=1)
    return np.take_along_axis(lists, order, axis=1)


def _draw_negatives(
    seen: SeenItems,
    ids: NDArray[np.int64],
    user: NDArray[np.int32],
    proposals: Proposals,
    count: int,
    seed: int,
) -> NDArray[np.int64]:
    """Takes the first `count` distinct unseen items of each example's own endless sequence of proposals."""
    width = 2 * count + 8
    bits = random_bits(seed, Stream.CANDIDATES, ids, width * _ROUNDS)
    chosen = np.empty((len(ids), count), dtype=np.int64)
    pending = np.arange(len(ids))
    for taken in range(width, width * _ROUNDS + 1, width):
        items = proposals.items(bits[pending, :taken])
        fresh = ~seen.contains(user[pending], items) & _first_occurrence(items)
        enough = fresh.sum(axis=1) >= count
        first = np.argsort(~fresh[enough], axis=1, kind="stable")[:, :count]
        chosen[pending[enough]] = np.take_along_axis(items[enough], first, axis=1)
        pending = pending[~enough]
    for row in pending:
        chosen[row] = _draw_from_all(seen, ids[row : row + 1], user[row : row + 1], proposals, count, seed)
    return chosen


def _draw_from_all(
    seen: SeenItems,
    ids: NDArray[np.int64],
    user: NDArray[np.int32],
    proposals: Proposals,
    count: int,
    seed: int,
) -> NDArray[np.int64]:
    """Ranks the whole catalogue by a random key: exact where nearly everything was consumed."""
    catalogue = np.arange(proposals.num_items)
    keys = proposals.order(uniforms(seed, Stream.CANDIDATES, ids, proposals.num_items)[0])
    unseen = catalogue[~seen.contains(user, catalogue[None, :])[0]]
    return unseen[np.argsort(keys[unseen], kind="stable")[:count]]


def _first_occurrence(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    first = np.ones_like(values, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    result = np.empty_like(first)
    np.put_along_axis(result, order, first, axis=1)
    return result
