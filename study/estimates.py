"""Means over seeds and users, with intervals that account for both, and tests of paired differences.

Examples of one user are dependent, and so are all examples of one seed. The variance of a mean over seeds and examples
is taken as the sum of two: that of resampled users (of the mean over seeds), and that of other seeds (of the mean over
examples). What users and seeds do together is in both, so the interval is rather too wide than too narrow. It is
Student's, with the degrees of freedom of Welch and Satterthwaite: with few seeds that differ much, about seeds − 1.
With one seed nothing is known of other seeds, and the interval is over users alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from study.student import student_quantile, student_tail

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and examples.

    Attributes:
        mean: The mean.
        low: Lower end of the 95 % interval; NaN where users and seeds do not differ, which says nothing of others.
        high: Upper end, NaN likewise.
        seeds: How many it rests on.
        users: How many it rests on.
        p: Two-sided, that the mean is 0; of use for differences. NaN where there is no interval and the mean is not 0.
    """

    mean: float
    low: float
    high: float
    seeds: int
    users: int
    p: float

    def within(self, lowest: float, highest: float) -> "Estimate":
        """Return it with its interval cut to the values that the mean can have."""
        if math.isnan(self.low):
            return self
        return replace(self, low=max(self.low, lowest), high=min(self.high, highest))


def estimate(values: NDArray[np.float64], users: NDArray[np.generic]) -> Estimate:
    """Estimate a mean.

    Args:
        values: A metric, or a paired difference of two, shape [seeds, examples].
        users: Of every example, shape [examples].

    Returns:
        The mean, its interval and its test.

    Raises:
        ValueError: There are no values, or fewer than two users.
    """
    seeds = len(values)
    if not values.size or len(np.unique(users)) < 2:
        raise ValueError(
            f"{values.shape} values of {len(np.unique(users))} users: an interval takes two users"
        )
    mean = float(values.mean())
    number, users_variance = cluster_variance(values.mean(axis=0), users)
    seed_variance = float(values.mean(axis=1).var(ddof=1)) / seeds if seeds > 1 else 0.0
    variance = users_variance + seed_variance
    if variance == 0:
        return Estimate(mean, math.nan, math.nan, seeds, number, 1.0 if mean == 0 else math.nan)
    freedom = variance**2 / (users_variance**2 / (number - 1) + seed_variance**2 / max(1, seeds - 1))
    error = variance**0.5
    half = student_quantile(LEVEL, freedom) * error
    return Estimate(mean, mean - half, mean + half, seeds, number, student_tail(mean / error, freedom))


def cluster_variance(values: NDArray[np.float64], clusters: NDArray[np.generic]) -> tuple[int, float]:
    """Return the variance of a mean of clustered examples, in closed form instead of by resampling.

    The mean is a ratio of sums over clusters, Σ y_c / Σ n_c; linearised, it varies as Σ (y_c − mean · n_c) / N does.

    Args:
        values: Shape [N].
        clusters: Of every value, shape [N].

    Returns:
        The number of clusters, and the variance.
    """
    index = np.unique(clusters, return_inverse=True)[1]
    sizes = np.bincount(index)
    residuals = np.bincount(index, weights=values - values.mean())
    number = len(sizes)
    return number, float(number / (number - 1) * (residuals**2).sum() / len(values) ** 2)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust the p-values of a family of tests for multiple testing (Holm, 1979).

    Args:
        p: One a test, in any order; NaN for a test that could not be made.

    Returns:
        The adjusted ones, in the same order: the i-th smallest times the tests not below it, never falling, at most 1.
    """
    adjusted, floor = list(p), 0.0
    made = [place for place in range(len(p)) if not math.isnan(p[place])]
    for rank, place in enumerate(sorted(made, key=lambda place: p[place])):
        floor = max(floor, min(1.0, (len(made) - rank) * p[place]))
        adjusted[place] = floor
    return adjusted
