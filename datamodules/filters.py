"""Filters of an interaction log; none is on unless the config names it, and each reports what it dropped."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from datamodules.checks import require_at_least, require_finite
from datamodules.errors import InputError
from datamodules.interactions import Interactions


class InteractionFilter(ABC):
    """Leaves out some interactions. Its `repr` names all its settings: it is part of the data's fingerprint."""

    @abstractmethod
    def apply(self, log: Interactions) -> Interactions:
        """Returns what is left.

        Raises:
            InputError: Nothing is left, or the log lacks what the filter looks at.
        """


@dataclass(frozen=True)
class MinRating(InteractionFilter):
    """Keeps interactions with at least this rating; the others count as never having happened.

    Args:
        threshold: Lowest rating that is kept.
    """

    threshold: float

    def __post_init__(self) -> None:
        """Check the threshold."""
        require_finite(threshold=self.threshold)

    def apply(self, log: Interactions) -> Interactions:
        """Keeps high ratings."""
        if log.rating is None:
            raise InputError(f"{self} needs ratings and the source reads none: set its rating_field")
        return _keep(log, log.rating >= self.threshold, self)


@dataclass(frozen=True)
class Deduplicate(InteractionFilter):
    """Keeps the earliest interaction of every (user, item); of equally early ones the first in the file."""

    def apply(self, log: Interactions) -> Interactions:
        """Keeps first interactions."""
        order = np.lexsort((log.time, log.item, log.user))  # stable: file order breaks ties
        user, item = log.user[order], log.item[order]
        first = np.ones(len(log), dtype=bool)
        first[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
        keep = np.zeros(len(log), dtype=bool)
        keep[order[first]] = True
        return _keep(log, keep, self)


@dataclass(frozen=True)
class KCore(InteractionFilter):
    """Drops users and items with fewer than k interactions until all have k; such items leave the catalogue.

    Args:
        k: Fewest interactions of a user and of an item.
    """

    k: int

    def __post_init__(self) -> None:
        """Check k."""
        require_at_least(1, k=self.k)

    def apply(self, log: Interactions) -> Interactions:
        """Keeps the k-core."""
        keep = np.ones(len(log), dtype=bool)
        left = len(log) + 1
        while (now := int(keep.sum())) < left:
            left = now
            for code, size in ((log.user, len(log.users)), (log.item, len(log.titles))):
                keep &= (np.bincount(code[keep], minlength=size) >= self.k)[code]
        return _without_absent(_keep(log, keep, self))


def apply_filters(log: Interactions, filters: Sequence[InteractionFilter]) -> Interactions:
    """Applies filters in their order."""
    for each in filters:
        log = each.apply(log)
    return log


def _keep(log: Interactions, keep: NDArray[np.bool_], why: InteractionFilter) -> Interactions:
    if not keep.any():
        raise InputError(f"{why} drops all {len(log)} interactions: loosen it")
    return replace(
        log,
        user=log.user[keep],
        item=log.item[keep],
        time=log.time[keep],
        rating=None if log.rating is None else log.rating[keep],
        dropped={**log.dropped, f"interactions dropped by {why}": int((~keep).sum())},
    )


def _without_absent(log: Interactions) -> Interactions:
    """Takes users and items without interactions out, keeping the others' order."""
    users, user = np.unique(log.user, return_inverse=True)
    items, item = np.unique(log.item, return_inverse=True)
    return replace(
        log,
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        users=[log.users[index] for index in users],
        titles=[log.titles[index] for index in items],
        dropped={
            **log.dropped,
            "users without interactions, dropped": len(log.users) - len(users),
            "items without interactions, dropped": len(log.titles) - len(items),
        },
    )
