"""Intervals over seeds and users, Student's t, and families of tests."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.user_bootstrap import resampled_means
from study.estimates import cluster_variance, estimate, holm
from study.student import student_quantile, student_tail


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 2.5, -2.5, 40.0])
def test_student_in_closed_form(t: float) -> None:
    """One degree: Cauchy, 2 arctan |t| / π inside. Two: |t| / √(2 + t²). Four: known too. Many: the normal."""
    a = abs(t)
    assert student_tail(t, 1) == pytest.approx(1 - 2 * math.atan(a) / math.pi, abs=1e-10)
    assert student_tail(t, 2) == pytest.approx(1 - a / math.sqrt(2 + t * t), abs=1e-10)
    inside = a / math.sqrt(4 + t * t) * (1 + 2 / (4 + t * t))
    assert student_tail(t, 4) == pytest.approx(1 - inside, abs=1e-10)
    assert student_tail(t, 1e7) == pytest.approx(math.erfc(a / math.sqrt(2)), abs=1e-6)


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (10, 2.2281), (120, 1.9799)],
)
def test_student_quantiles_of_the_printed_table(freedom: int, expected: float) -> None:
    assert student_quantile(0.95, freedom) == pytest.approx(expected, abs=6e-5)


@settings(deadline=None)
@given(st.floats(1, 2000), st.floats(0.5, 0.999))
def test_the_quantile_undoes_the_tail(freedom: float, level: float) -> None:
    assert student_tail(student_quantile(level, freedom), freedom) == pytest.approx(1 - level, abs=1e-8)


def test_the_variance_over_users_is_that_of_resampled_users() -> None:
    """The linearised formula against the bootstrap, users of very different sizes."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(200), rng.integers(1, 20, size=200))
    values = (rng.random(len(users)) < rng.random(200)[users]).astype(float)
    number, variance = cluster_variance(values, users)
    assert number == 200
    assert math.sqrt(variance) == pytest.approx(resampled_means(values, users, seed=1).std(), rel=0.03)
    independent = math.sqrt(values.var() / len(values))
    assert math.sqrt(variance) > 1.5 * independent


def test_by_hand_with_two_users_and_two_seeds() -> None:
    """Seeds and users that vary equally.

    Seeds' means .5 and 1: variance of the mean (.25² + .25²) / 1 / 2 = .0625. Means over seeds by user: u .5, v 1;
    residuals −.5 and +.5 in sums of two examples, so the variance is 2 · (.25 + .25) / 16 = .0625. Together .125, and
    the degrees of freedom .125² / (.0625² + .0625²) = 2, for which t = 4.3027.
    """
    values = np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    result = estimate(values, np.array(["u", "u", "v", "v"]))
    half = 4.302653 * math.sqrt(0.125)
    assert (result.mean, result.seeds, result.users) == (0.75, 2, 2)
    assert (result.low, result.high) == (
        pytest.approx(0.75 - half, abs=1e-5),
        pytest.approx(0.75 + half, abs=1e-5),
    )
    t = 0.75 / math.sqrt(0.125)
    assert result.p == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-9)


def test_one_seed_has_an_interval_over_users_alone() -> None:
    rng = np.random.default_rng(0)
    users, values = np.repeat(np.arange(300), 5), rng.random(1500)
    one, three = estimate(values[None], users), estimate(np.stack([values] * 3), users)
    assert (one.seeds, three.seeds) == (1, 3)
    assert (one.low, one.high) == (pytest.approx(three.low), pytest.approx(three.high))


def test_users_that_do_not_differ_and_no_data_give_no_interval() -> None:
    """Two users with the same difference say nothing of a third: there is no interval, and no p but for 0."""
    users = np.array([0, 1])
    for value, p in ((0.0, 1.0), (1.0, math.nan)):
        result = estimate(np.full((2, 2), value), users)
        assert math.isnan(result.low)
        assert math.isnan(result.high)
        assert result.p == pytest.approx(p, nan_ok=True)
    for values, clusters in ((np.zeros((0, 2)), users), (np.ones((1, 2)), np.array([0, 0]))):
        with pytest.raises(ValueError, match="takes two users"):
            estimate(values, clusters)


@pytest.mark.parametrize(("of_seeds", "of_users"), [(0.0, 0.1), (0.02, 0.1), (0.05, 0.02)])
def test_the_interval_covers(of_seeds: float, of_users: float) -> None:
    """Three seeds, 60 users of 5 examples: 95 % of intervals hold the truth, give or take what 400 draws leave open."""
    rng = np.random.default_rng(0)
    users, covered = np.repeat(np.arange(60), 5), 0
    for _ in range(400):
        truth = of_seeds * rng.normal(size=(3, 1)) + of_users * rng.normal(size=60)[users]
        result = estimate(truth + 0.3 * rng.normal(size=(3, 300)), users)
        covered += result.low <= 0 <= result.high
    assert covered / 400 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)


def test_holm_by_hand() -> None:
    """.01 · 4, .02 · 3, .03 · 2 raised to the .06 before it, .04 · 1 raised too."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_test_that_could_not_be_made_is_no_part_of_the_family() -> None:
    """.01 · 2 and .04 · 1."""
    assert holm([math.nan, 0.01, 0.04]) == pytest.approx([math.nan, 0.02, 0.04], nan_ok=True)


def test_an_interval_is_cut_to_what_the_mean_can_be() -> None:
    """By hand above: .75 ± 1.52 of a share is [0, 1], of a difference [−.77, 1]."""
    values = np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    result = estimate(values, np.array(["u", "u", "v", "v"]))
    share, difference = result.within(0, 1), result.within(-1, 1)
    assert (share.low, share.high) == (0, 1)
    assert (difference.low, difference.high) == (pytest.approx(0.75 - 4.302653 * math.sqrt(0.125)), 1)
    assert (share.mean, share.p) == (result.mean, result.p)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_as_the_step_down_rule_does(p: list[float], level: float) -> None:
    """The rule itself: go up the sorted p-values and stop at the first above level / (tests left)."""
    rejected = set()
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if (len(p) - rank) * p[place] > level:
            break
        rejected.add(place)
    assert {place for place, value in enumerate(holm(p)) if value <= level} == rejected
