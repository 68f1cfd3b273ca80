"""Which negatives enter the loss: DynamicPO's boundary, and the controls it has to be compared with."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from losses.scores import ResponseScores
from losses.three_means import three_means_boundary


class Selection(nn.Module, ABC):
    """Chooses negatives from scores that it does not differentiate.

    Attributes:
        needs_draws: Whether `ResponseScores.draws` must be given.
    """

    needs_draws: bool = False

    @abstractmethod
    def forward(self, scores: ResponseScores) -> Tensor:
        """Choose.

        Args:
            scores: Log-probabilities; the policy's alone are read.

        Returns:
            `[B, K]` bool, never True where masked.

        Raises:
            ValueError: draws are needed and missing.
        """


class AllNegatives(Selection):
    """Every negative that is there: the base objective."""

    def forward(self, scores: ResponseScores) -> Tensor:
        """See `Selection.forward`."""
        return scores.present


class ThreeMeansBoundary(Selection):
    """DynamicPO's boundary-critical negatives (arXiv 2605.00327, step 1): `three_means_boundary`."""

    def forward(self, scores: ResponseScores) -> Tensor:
        """See `Selection.forward`."""
        return three_means_boundary(scores)


class CountedNegatives(Selection):
    """The m negatives that come first in some order; all of them where a row has fewer.

    Ties are broken by column order, so where equal scores straddle the m-th place it depends on the order of
    the columns which of them enter.

    Args:
        m: How many, at least 1.

    Raises:
        ValueError: m is below 1.
    """

    def __init__(self, m: int) -> None:
        super().__init__()
        self.m = _check_count(m)

    @abstractmethod
    def keys(self, log_probs: Tensor) -> Tensor:
        """What the negatives are ordered by, smallest first.

        Args:
            log_probs: `[B, 1 + K]`, the positive first.

        Returns:
            `[B, K]`.
        """

    def forward(self, scores: ResponseScores) -> Tensor:
        """See `Selection.forward`."""
        return smallest(self.keys(scores.log_probs().detach()), scores.present, self.m)


class NearestNegatives(CountedNegatives):
    """The m negatives nearest to the boundary: smallest |s_w − s_i|.

    Args:
        m: How many, at least 1.
    """

    def keys(self, log_probs: Tensor) -> Tensor:
        """Distance to the positive, in nats."""
        return (log_probs[:, :1] - log_probs[:, 1:]).abs()


class HardestNegatives(CountedNegatives):
    """The m negatives with the highest s_i.

    Args:
        m: How many, at least 1.
    """

    def keys(self, log_probs: Tensor) -> Tensor:
        """Minus the log-probability."""
        return -log_probs[:, 1:]


class EasiestNegatives(CountedNegatives):
    """The m negatives with the lowest s_i.

    Args:
        m: How many, at least 1.
    """

    def keys(self, log_probs: Tensor) -> Tensor:
        """The log-probability."""
        return log_probs[:, 1:]


class RandomNegatives(Selection):
    """The negatives with the smallest draws: a uniform choice that a seed, an epoch and an example fix.

    Args:
        m: How many, at least 1 (all where a row has fewer). None: in each row exactly as many as
            `three_means_boundary` selects there, which is the control for DynamicPO's choice.

    Raises:
        ValueError: m is below 1; in the call, draws are missing.
    """

    needs_draws = True

    def __init__(self, m: int | None = None) -> None:
        super().__init__()
        self.m = None if m is None else _check_count(m)

    def forward(self, scores: ResponseScores) -> Tensor:
        """See `Selection.forward`."""
        if scores.draws is None:
            raise ValueError(
                "draws is None but RandomNegatives orders by them: give one uniform per negative"
            )
        count = three_means_boundary(scores).sum(dim=1, keepdim=True) if self.m is None else self.m
        return smallest(scores.draws.detach(), scores.present, count)


def smallest(keys: Tensor, present: Tensor, count: Tensor | int) -> Tensor:
    """Choose, row by row, the present columns with the smallest keys; ties go to the earlier column.

    Args:
        keys: `[B, K]` float, finite where present.
        present: `[B, K]` bool.
        count: How many, one for all or `[B, 1]`.

    Returns:
        `[B, K]` bool, with `count` True in each row, or all that are present where there are fewer.
    """
    order = torch.where(present, keys, torch.inf).argsort(dim=1, stable=True)
    rank = order.argsort(dim=1)
    return (rank < count) & present


def _check_count(m: int) -> int:
    if m < 1:
        raise ValueError(f"m is {m}, expected at least 1: without a negative there is no preference")
    return m
