"""Intervals for the mean of a metric over examples that depend on each other through their users.

Histories of one user overlap, and a user who is easy to predict is so again and again. So users are resampled, not
examples.
"""

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
