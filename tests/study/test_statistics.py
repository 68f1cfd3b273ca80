import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from datamodules.user_bootstrap import bootstrap_interval, resampled_means
from study.statistics import mcnemar_exact


def test_resampled_means_follow_the_exact_distribution() -> None:
    """Three users with (sum, size) = (3, 1), (2, 4), (0, 1): 27 equally likely resamples, enumerated."""
    values = np.array([3.0, 0.5, 0.5, 0.5, 0.5, 0.0])
    users = np.array(["a", "b", "b", "b", "b", "c"])
    sums, sizes = [3.0, 2.0, 0.0], [1, 4, 1]
    exact: dict[float, Fraction] = {}
    for drawn in itertools.product(range(3), repeat=3):
        mean = round(sum(sums[i] for i in drawn) / sum(sizes[i] for i in drawn), 9)
        exact[mean] = exact.get(mean, Fraction(0)) + Fraction(1, 27)
    means = resampled_means(values, users, seed=0, resamples=40_000).round(9)
    assert set(means.tolist()) == set(exact)
    for mean, probability in exact.items():
        # The standard error of a share of 40,000 is below .0025.
        assert (means == mean).mean() == pytest.approx(float(probability), abs=0.01)


def test_the_interval_is_the_quantiles_of_the_exact_distribution() -> None:
    """Two users with means 0 and 1: the resampled mean is 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4."""
    values, users = np.array([0.0, 0.0, 1.0, 1.0]), np.array([7, 7, 9, 9])
    assert bootstrap_interval(values, users, seed=0) == (0.0, 1.0)
    assert bootstrap_interval(values, users, seed=0, level=0.4) == (0.5, 0.5)


def test_an_interval_of_independent_rows_is_the_normal_one() -> None:
    """For 400 rows of 0 and 1 with mean p, the interval is p ± 1.96 √(p(1 − p)/400) up to resampling error."""
    values = (np.arange(400) % 4 == 0).astype(float)
    low, high = bootstrap_interval(values, np.arange(400), seed=0)
    half = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    assert low == pytest.approx(0.25 - half, abs=0.004)
    assert high == pytest.approx(0.25 + half, abs=0.004)


def test_dependent_rows_widen_the_interval_as_their_number_shrinks() -> None:
    """Every user's 16 rows are alike, so 1,600 rows are worth 100: four times the width of 1,600 independent ones."""
    values = np.repeat((np.arange(100) % 2).astype(float), 16)
    dependent = np.ptp(bootstrap_interval(values, np.repeat(np.arange(100), 16), seed=0))
    independent = np.ptp(bootstrap_interval(values, np.arange(1600), seed=0))
    assert dependent / independent == pytest.approx(4.0, rel=0.05)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """200 samples of 60 users with 1 to 8 dependent rows; 95 % ± 3 standard errors (.046) and small-sample bias."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        users = np.repeat(np.arange(60), rng.integers(1, 9, size=60))
        values = (0.5 + rng.normal(size=60))[users] + rng.normal(size=len(users))
        means = resampled_means(values, users, seed, resamples=1000)
        low, high = np.quantile(means, [0.025, 0.975])
        covered += bool(low <= 0.5 <= high)
    assert 0.88 <= covered / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_whatever_the_order_of_rows() -> None:
    rng = np.random.default_rng(0)
    values, users = rng.normal(size=200), rng.integers(20, size=200)
    order = rng.permutation(200)
    first = bootstrap_interval(values, users, seed=3)
    assert bootstrap_interval(values[order], users[order], seed=3) == pytest.approx(first, abs=1e-12)
    assert bootstrap_interval(values, users, seed=4) != first


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    values, users = np.random.default_rng(0).normal(size=300), np.arange(300)
    whole = resampled_means(values, users, seed=1, resamples=50)
    monkeypatch.setattr("datamodules.user_bootstrap._CELLS", 7 * 300)
    assert (resampled_means(values, users, seed=1, resamples=50) == whole).all()


def test_nothing_or_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="0 values and 0 clusters"):
        bootstrap_interval(np.array([]), np.array([]), seed=0)
    with pytest.raises(ValueError, match="2 values and 3 clusters"):
        bootstrap_interval(np.zeros(2), np.zeros(3), seed=0)


def test_mcnemar_by_hand() -> None:
    """B(5, 1/2): P(0) = 1/32, so 5 against 0 gives 2/32; 4 against 1 gives 2 · 6/32; a draw gives 1."""
    assert mcnemar_exact(5, 0) == 2 / 32
    assert mcnemar_exact(0, 5) == 2 / 32
    assert mcnemar_exact(4, 1) == 12 / 32
    assert mcnemar_exact(3, 3) == 1.0
    assert mcnemar_exact(0, 0) == 1.0


@pytest.mark.parametrize("rows", range(1, 13))
def test_mcnemar_equals_the_enumeration_of_all_outcomes(rows: int) -> None:
    """Of all 2^n ways in which the rows may fall, those at least as lopsided as the one seen."""
    for first in range(rows + 1):
        extreme = sum(
            max(sum(way), rows - sum(way)) >= max(first, rows - first)
            for way in itertools.product((0, 1), repeat=rows)
        )
        assert mcnemar_exact(first, rows - first) == pytest.approx(extreme / 2**rows, abs=1e-15)


def test_mcnemar_of_many_rows_neither_overflows_nor_rounds() -> None:
    exact = 2 * Fraction(sum(comb(5000, k) for k in range(2400)), 2**5000)
    assert mcnemar_exact(2399, 2601) == pytest.approx(float(exact), rel=1e-12)
    assert mcnemar_exact(0, 5000) == 0.0  # 2 / 2^5000 is below the smallest float
