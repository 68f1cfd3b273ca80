"""Rules that rank a list without the user: by places, by the company a target keeps, by popularity.

Each learns from earlier rows and scores the candidates of later rows; higher is better.
"""

import numpy as np
from numpy.typing import NDArray

from datamodules.audit.rows import NONE, AuditSplit

_CHUNK = 512


class PairCounts:
    """How often each (first, second) pair occurred, kept as sorted keys.

    Args:
        first: First members, shape [P].
        second: Second members, shape [P], all below `width`.
        width: One more than the largest second member.
    """

    def __init__(self, first: NDArray[np.int64], second: NDArray[np.int64], width: int) -> None:
        self._width = width
        self._keys, self._counts = np.unique(first * width + second, return_counts=True)

    def of(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        """Looks counts up; the arguments broadcast, and the result has their common shape."""
        keys = first * self._width + second
        if not len(self._keys):
            return np.zeros(keys.shape, dtype=np.int64)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._counts[place], 0)


class TargetCounts:
    """How often each item was a target.

    Args:
        learned: Earlier rows.
        num_items: Size of the catalogue.
    """

    def __init__(self, learned: AuditSplit, num_items: int) -> None:
        self._counts = np.bincount(learned.target, minlength=num_items)

    def of(self, candidates: NDArray[np.int32]) -> NDArray[np.int64]:
        """Looks counts up, 0 for padding; same shape as `candidates`."""
        return np.where(candidates == NONE, 0, self._counts[candidates])


class PositionRule:
    """Prefers a candidate that stands where it stood as a target before.

    The score of item c at place p is the estimated probability that c, were it the target, would stand at p:

        (n(c, p) + C·g(p)) / (n(c) + C)

    with n the counts among earlier targets, g the share of all earlier targets at p, which is all that is
    known of an item that never was a target, and C places, hence one imaginary target a place: with fewer, a
    rare item that by luck stands where it stood once outranks a frequent one that keeps to one place.
    """

    def __init__(self, learned: AuditSplit, num_items: int) -> None:
        rows, places = np.nonzero(learned.is_target)
        width = learned.candidates.shape[1]
        self._targets = TargetCounts(learned.take(rows), num_items)
        self._at_place = PairCounts(learned.target[rows].astype(np.int64), places, width)
        self._overall = (np.bincount(places, minlength=width) + 1) / (len(places) + width)

    def scores(self, candidates: NDArray[np.int32]) -> NDArray[np.float64]:
        """Scores lists, shape [N, C]."""
        places = np.arange(candidates.shape[1])[None, :]
        overall = np.append(self._overall, np.zeros(max(0, candidates.shape[1] - len(self._overall))))
        at_place = np.where(
            places < len(self._overall), self._at_place.of(candidates.astype(np.int64), places), 0
        )
        width = len(self._overall)
        score = (at_place + width * overall[places]) / (self._targets.of(candidates) + width)
        return np.where(candidates == NONE, -np.inf, score)


class FingerprintRule:
    """Prefers a candidate whose earlier lists, when it was the target, look like this list.

    The score of item c in list L is how far the overlap of L with earlier lists exceeds chance, in standard
    deviations of a Poisson count:

        (Σ_j |L ∩ L_j| − e) / √(e + 1),    e = n(c) Σ_{i ∈ L, i ≠ c} f(i)

    over the n(c) earlier rows j with target c, their negatives L_j, and f(i) the share of all earlier rows
    that have i among the negatives. So neither a frequent target nor a frequent negative scores high as such.
    """

    def __init__(self, learned: AuditSplit, num_items: int) -> None:
        others = (learned.candidates != NONE) & ~learned.is_target
        rows, columns = np.nonzero(others)
        negatives = learned.candidates[rows, columns].astype(np.int64)
        self._targets = TargetCounts(learned, num_items)
        self._company = PairCounts(learned.target[rows].astype(np.int64), negatives, num_items)
        self._share = np.bincount(negatives, minlength=num_items) / max(len(learned), 1)

    def scores(self, candidates: NDArray[np.int32]) -> NDArray[np.float64]:
        """Scores lists, shape [N, C]."""
        share = np.where(candidates == NONE, 0.0, self._share[candidates])
        expected = self._targets.of(candidates) * (share.sum(axis=1, keepdims=True) - share)
        score = (self._shared(candidates, candidates) - expected) / np.sqrt(expected + 1)
        return np.where(candidates == NONE, -np.inf, score)

    def shared_negatives(self, split: AuditSplit) -> float:
        """Mean number of negatives that a row shares with an earlier row of the same target.

        Returns:
            The mean over rows whose target was one before; 0 where there is none.
        """
        known = self._targets.of(split.target)
        rows = np.flatnonzero(known)
        if not len(rows):
            return 0.0
        shared = self._shared(split.target[rows, None], split.candidates[rows])[:, 0]
        return float((shared / known[rows]).mean())

    def _shared(self, items: NDArray[np.int32], lists: NDArray[np.int32]) -> NDArray[np.int64]:
        """Sums the overlap of a list with earlier lists whose target was an item.

        Args:
            items: Shape [N, M].
            lists: Shape [N, C].

        Returns:
            Overlap with all earlier negatives of each item together, shape [N, M].
        """
        total = np.zeros(items.shape, dtype=np.int64)
        for start in range(0, len(items), _CHUNK):
            part = slice(start, start + _CHUNK)
            rows, columns = np.nonzero(self._targets.of(items[part]))  # the others have kept no company yet
            members = lists[part][rows].astype(np.int64)
            counts = self._company.of(items[part][rows, columns].astype(np.int64)[:, None], members)
            total[part][rows, columns] = np.where(members == NONE, 0, counts).sum(axis=1)
        return total


class PopularityRule:
    """Prefers the candidate that was a target most often."""

    def __init__(self, learned: AuditSplit, num_items: int) -> None:
        self._targets = TargetCounts(learned, num_items)

    def scores(self, candidates: NDArray[np.int32]) -> NDArray[np.float64]:
        """Scores lists, shape [N, C]."""
        return np.where(candidates == NONE, -np.inf, self._targets.of(candidates).astype(np.float64))


Rule = PositionRule | FingerprintRule | PopularityRule


def first_is_target(
    scores: NDArray[np.float64], is_target: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whether the target is ranked first, ties broken at random.

    Args:
        scores: Shape [N, C].
        is_target: Where the target stands, shape [N, C].
        rng: Breaks ties.

    Returns:
        Shape [N].
    """
    tied = scores == scores.max(axis=1, keepdims=True)
    chosen = np.argmax(np.where(tied, rng.random(scores.shape), -1.0), axis=1)
    right: NDArray[np.bool_] = is_target[np.arange(len(scores)), chosen]
    return right
