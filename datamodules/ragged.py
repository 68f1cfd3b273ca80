"""Many short arrays in one, so that joining some of them for many rows is one gather."""

from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Ragged:
    """Many short arrays in one.

    Args:
        values: All arrays, one after the other.
        lengths: Length of each.
    """

    def __init__(self, values: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
        self.values = values
        self.lengths = lengths
        self._starts = np.cumsum(lengths) - lengths

    @classmethod
    def of(cls, rows: list[list[int]]) -> "Ragged":
        """Joins lists."""
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        values = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(lengths.sum()))
        return cls(values, lengths)

    def joined(
        self, index: NDArray[np.int64], kept: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Joins, for every row of `index`, the arrays it names.

        Args:
            index: Which arrays, in their order, shape [n, P].
            kept: How many values at the end of each are taken, shape [n, P]; None takes all.

        Returns:
            The values of all rows, and how many each row has, shape [n].
        """
        whole = self.lengths[index].ravel()
        lengths = whole if kept is None else kept.ravel()
        # Within an array the source moves on by 1; at its beginning it jumps to where the array is taken from.
        shift = self._starts[index].ravel() + whole - np.cumsum(lengths)
        source = np.arange(int(lengths.sum())) + np.repeat(shift, lengths)
        return self.values[source], lengths.reshape(index.shape).sum(axis=1)


def list_array(values: NDArray[np.int32], lengths: NDArray[np.int64]) -> pa.ListArray:
    """Makes an Arrow column of lists of int32 of the lists' joined values and their lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values.astype(np.int32, copy=False))
