"""What every source is read into: who consumed what, when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from datamodules.draws import mix
from datamodules.errors import InputError


@dataclass(frozen=True)
class Interactions:
    """A user-item log in file order.

    An LLM recommender knows an item by its title alone, so items whose titles are equal (after folding case
    and white space) are one item here.

    Attributes:
        user: Index into `users`, shape [N].
        item: Index into `titles`, shape [N].
        time: Seconds since 1970 or any other monotone clock, shape [N].
        users: The users' ids in the source.
        titles: One distinct title per item, white space folded.
        rating: Rating of each interaction, where the source has been asked for it, shape [N].
        notes: What reading merged, one sentence each.
        dropped: How many rows were left out, by the reason.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.float64]
    users: list[str]
    titles: list[str]
    rating: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)


def first_occurrences(
    user: NDArray[np.int32], item: NDArray[np.int32], time: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mark the rows before which no row has the same user, item and time, shape [N]."""
    first = np.ones(len(user), dtype=bool)
    keys = mix((user.astype(np.uint64) << np.uint64(32)) | item.astype(np.uint64)) ^ time.view(np.uint64)
    ordered = np.sort(keys)
    if (ordered[1:] != ordered[:-1]).all():  # as a rule; ordering by three columns takes ten times as long
        return first
    order = np.lexsort((time, item, user))  # stable: the first in the file comes first
    same = np.logical_and.reduce([column[order][1:] == column[order][:-1] for column in (user, item, time)])
    first[order[1:][same]] = False
    return first


def fold_title(title: str) -> str:
    """Folds white space, so that a title is one line and a line break can separate titles."""
    return " ".join(title.split())


class TitleIndex:
    """Titles as consecutive integers; those that a language model could not tell apart are one item.

    Attributes:
        titles: The distinct titles, white space folded, each at its integer.
    """

    def __init__(self) -> None:
        self.titles: list[str] = []
        self._of_key: dict[str, int] = {}
        self._of_title: dict[str, int] = {}

    def add(self, title: str) -> int:
        """Finds or adds a title.

        Raises:
            ValueError: It is empty.
        """
        known = self._of_title.get(title)
        if known is not None:
            return known
        folded = fold_title(title)
        if not folded:
            raise ValueError("an empty title")
        index = self._of_key.setdefault(folded.casefold(), len(self.titles))
        if index == len(self.titles):
            self.titles.append(folded)
        self._of_title[title] = index
        return index

    def add_all(self, titles: list[str]) -> list[int]:
        """Finds or adds titles; see `add`."""
        known = list(map(self._of_title.get, titles))  # as a rule all are: one call instead of one a title
        return [self.add(title) for title in titles] if None in known else cast("list[int]", known)

    def mark(self) -> tuple[int, int]:
        """Says how much is known by now, for `forget_since`."""
        return len(self.titles), len(self._of_title)

    def forget_since(self, mark: tuple[int, int]) -> None:
        """Forgets what was added since."""
        titles, spellings = mark
        del self.titles[titles:]
        # Dictionaries keep the order in which keys came.
        while len(self._of_key) > titles:
            self._of_key.popitem()
        while len(self._of_title) > spellings:
            self._of_title.popitem()


def merge_titles(titles: list[str]) -> tuple[list[str], NDArray[np.int32]]:
    """Merges items that a language model could not tell apart.

    Args:
        titles: One title per item of the source.

    Returns:
        The distinct folded titles in order of first appearance, and for every item of the source the index
        of its title, shape [len(titles)].

    Raises:
        InputError: A title is empty.
    """
    index = TitleIndex()
    of_item = np.empty(len(titles), dtype=np.int32)
    for position, title in enumerate(titles):
        try:
            of_item[position] = index.add(title)
        except ValueError as error:
            raise InputError(
                f"item {position} of the catalogue has an empty title: give every item a title"
            ) from error
    return index.titles, of_item
