"""A histogram that is counted on the device and over all ranks."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from callbacks.ranks import of_all_ranks, of_this_rank


class Histogram:
    """Counts in bins of equal width since the last `reduce`, without a host sync until then.

    Args:
        low: Lower end of the first bin, which takes what is below too.
        high: Upper end of the last bin, which takes what is above too.
        bins: Number of bins.
    """

    def __init__(self, low: float, high: float, bins: int) -> None:
        self._low, self._high, self._bins = low, high, bins
        self._counts: Tensor | None = None

    @property
    def edges(self) -> NDArray[np.float64]:
        """Ends of the bins, shape [bins + 1]."""
        return np.linspace(self._low, self._high, self._bins + 1)

    def add(self, values: Tensor, where: Tensor) -> None:
        """Counts values.

        Args:
            values: Any shape.
            where: True where a value counts; the others may be anything.
        """
        where = where & ~values.isnan()  # it has no bin, and `FiniteLoss` says why the run ends
        position = (torch.where(where, values, self._low) - self._low) / (self._high - self._low) * self._bins
        index = position.clamp(0, self._bins - 1).long().flatten()
        if self._counts is None:
            self._counts = torch.zeros(self._bins, dtype=torch.long, device=values.device)
        self._counts = self._counts.index_add(0, index, where.long().flatten())

    def reduce(self, trainer: pl.Trainer) -> NDArray[np.int64]:
        """Adds up all ranks' counts, empties the histogram and returns them, shape [bins]."""
        device = trainer.strategy.root_device
        counts = torch.zeros(self._bins, dtype=torch.long, device=device)
        if self._counts is not None:
            counts += self._counts
        self._counts = None
        total: NDArray[np.int64] = trainer.strategy.reduce(counts, reduce_op="sum").numpy(force=True)
        return total

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers of every process, so that a resumed run logs what the uninterrupted one does."""
        return {"ranks": of_all_ranks([] if self._counts is None else self._counts.tolist())}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restores what `state_dict` said."""
        own = [torch.tensor(counts, device=device) for counts in of_this_rank(state["ranks"]) if counts]
        self._counts = torch.stack(own).sum(dim=0) if own else None
