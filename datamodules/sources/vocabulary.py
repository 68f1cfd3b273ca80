"""Ids and titles as integers, in the order in which they come."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datamodules.interactions import fold_title


class Vocabulary:
    """Strings as consecutive integers in order of first appearance."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._index)

    def strings(self) -> list[str]:
        """All strings, each at its integer."""
        return list(self._index)

    def add(self, column: pa.Array) -> NDArray[np.int32]:
        """Encodes strings, new ones included, shape [N]."""
        return self._encode(column, lambda value: self._index.setdefault(value, len(self._index)))

    def find(self, column: pa.Array) -> NDArray[np.int32]:
        """Encodes strings, -1 where one is unknown, shape [N]."""
        return self._encode(column, lambda value: self._index.get(value, -1))

    @staticmethod
    def _encode(column: pa.Array, code: Callable[[str], int]) -> NDArray[np.int32]:
        encoded = pc.dictionary_encode(column)
        codes = np.array([code(value) for value in encoded.dictionary.to_pylist()] + [-1], dtype=np.int32)
        return codes[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


class Catalogue:
    """Item ids and their titles.

    Attributes:
        items: The ids.
        retitled: Items that stood beside another title than their first, and the first such title of each.
    """

    def __init__(self) -> None:
        self.items = Vocabulary()
        self.retitled: dict[int, str] = {}
        self._spellings = Vocabulary()
        self._spelling_of_item = np.zeros(0, dtype=np.int32)

    @property
    def titles(self) -> list[str]:
        """The title that stood beside each item first."""
        spellings = self._spellings.strings()
        return [spellings[spelling] for spelling in self._spelling_of_item.tolist()]

    def add(self, item: pa.Array, title: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Encode items.

        Args:
            item: Ids, shape [N].
            title: Titles, shape [N]; case and white space do not tell them apart.

        Returns:
            Items, and whether the title is another than the item's own, both of shape [N].
        """
        codes, spellings = self.items.add(item), self._spellings.add(title)
        distinct, first = np.unique(codes, return_index=True)
        new = first[distinct >= len(self._spelling_of_item)]
        self._spelling_of_item = np.concatenate([self._spelling_of_item, spellings[new]])
        other = self._spelling_of_item[codes] != spellings
        if other.any():
            other = self._means_another(codes, spellings, other)
        return codes, other

    def _means_another(
        self, codes: NDArray[np.int32], spellings: NDArray[np.int32], differs: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Narrows differing spellings down to titles that differ, and takes note of them."""
        texts = self._spellings.strings()
        pairs, pair_of_row = np.unique(
            np.stack([codes[differs], spellings[differs]]), axis=1, return_inverse=True
        )
        another = np.zeros(pairs.shape[1], dtype=bool)
        for number, (code, spelling) in enumerate(pairs.T.tolist()):
            own, title = texts[self._spelling_of_item[code]], texts[spelling]
            if fold_title(own).casefold() != fold_title(title).casefold():
                another[number] = True
                self.retitled.setdefault(code, title)
        found = differs.copy()
        found[differs] = another[pair_of_row.ravel()]
        return found
