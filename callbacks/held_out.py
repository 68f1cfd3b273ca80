"""A validation example by example, so that two of one run can be compared in pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from callbacks.collapse_rule import Change
from callbacks.ranks import of_all_ranks

_COLUMNS = ("id", "user", "rank")


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Where every example's positive was ranked.

    Attributes:
        id: Example ids in ascending order, shape [N].
        user: Their users, shape [N].
        rank: Rank of the positive, best is 0, shape [N].
    """

    id: NDArray[np.int64]
    user: NDArray[np.int64]
    rank: NDArray[np.int64]

    @classmethod
    def gather(cls, batches: list[Mapping[str, Tensor]]) -> "HeldOut":
        """Joins the batches of all processes; every process must call it and gets the same.

        Args:
            batches: What the steps of this process returned, if any: `id`, `user` and `rank`, each [B].
        """
        parts = [np.stack([batch[name].numpy(force=True) for name in _COLUMNS]) for batch in batches]
        own = np.concatenate([np.zeros((len(_COLUMNS), 0), dtype=np.int64), *parts], axis=1)
        table = np.concatenate(of_all_ranks(own), axis=1)
        return cls(*table[:, np.argsort(table[0], kind="stable")])

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank."""
        return float((1 / (self.rank + 1)).mean())

    @property
    def hit_ratio(self) -> float:
        """hit_ratio@1."""
        return float((self.rank == 0).mean())

    def same_examples(self, other: "HeldOut") -> bool:
        """Whether both are of the same examples."""
        return np.array_equal(self.id, other.id)

    def mrr_since(self, best: "HeldOut") -> Change:
        """Change of the mean reciprocal rank, of the same examples."""
        return self._change(1 / (self.rank + 1) - 1 / (best.rank + 1))

    def hit_ratio_since(self, best: "HeldOut") -> Change:
        """Change of hit_ratio@1, of the same examples."""
        return self._change((self.rank == 0).astype(float) - (best.rank == 0))

    def _change(self, difference: NDArray[np.float64]) -> Change:
        """Mean of paired differences d_i, and its standard error with users as clusters.

        Examples of one user are dependent. With U users and r_u = Σ_{i of u} (d_i − d̄) the squared error is
        U / (U − 1) Σ_u r_u² / N², which is the usual one where every user has one example.
        """
        mean = difference.mean()
        of_user = np.unique(self.user, return_inverse=True)[1]
        residuals = np.bincount(of_user, weights=difference - mean)
        users = len(residuals)
        if users == 1:
            return Change(float(mean), float("inf"))
        variance = users / (users - 1) * np.square(residuals).sum() / len(difference) ** 2
        return Change(float(mean), float(variance**0.5))

    def state_dict(self) -> dict[str, Any]:
        """The columns as tensors, which a checkpoint may hold."""
        return {name: torch.from_numpy(getattr(self, name)) for name in _COLUMNS}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "HeldOut":
        """What `state_dict` said."""
        return cls(*(state[name].numpy(force=True) for name in _COLUMNS))
