"""Intervals and tests for metrics of one or two runs on the same examples.

Examples of one user are dependent: their histories overlap, and whoever is easy to predict is so again and
again. So users are resampled, not examples.
"""

import math

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_CELLS = 4_000_000  # of one chunk of resamples


def bootstrap_interval(
    values: NDArray[np.float64], clusters: NDArray[np.generic], seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean, clusters resampled with replacement.

    Args:
        values: A metric of every example, or a difference of two, shape [N].
        clusters: What examples depend through, the user as a rule, shape [N].
        seed: Decides the resamples; the same clusters and seed give the same resamples.
        level: Coverage.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: There are no examples, or the shapes differ.
    """
    means = resampled_means(values, clusters, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_means(
    values: NDArray[np.float64], clusters: NDArray[np.generic], seed: int, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Means over the examples of as many clusters as there are, drawn with replacement; shape [resamples].

    Arguments and errors as in `bootstrap_interval`.
    """
    if len(values) != len(clusters) or not len(values):
        raise ValueError(
            f"{len(values)} values and {len(clusters)} clusters: give one cluster a value, at least one"
        )
    index = np.unique(clusters, return_inverse=True)[1]
    sizes = np.bincount(index)
    sums = np.bincount(index, weights=values)
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // len(sizes))
    means = []
    for start in range(0, resamples, step):
        drawn = rng.integers(len(sizes), size=(min(step, resamples - start), len(sizes)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """Two-sided exact McNemar test: does one of two classifiers get more rows right?

    Only rows that exactly one gets right count. Were both equally good and rows independent, each such row
    would be the first's or the second's with probability 1/2.

    Args:
        first_only: Rows that the first alone gets right.
        second_only: Rows that the second alone gets right.

    Returns:
        The p-value: twice the tail of B(first_only + second_only, 1/2), at most 1.
    """
    rows = first_only + second_only
    term = tail = math.comb(rows, min(first_only, second_only))
    for right in range(min(first_only, second_only), 0, -1):
        term = term * right // (rows - right + 1)
        tail += term
    # Integers as long as the rows are many: the division comes last, for a float would overflow.
    return 1.0 if 2 * tail >= 2**rows else 2 * tail / 2**rows
