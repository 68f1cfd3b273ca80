"""Three-means against brute force over all cuts, ties against exact arithmetic, and its laws."""

from fractions import Fraction
from itertools import combinations_with_replacement, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from losses import ResponseScores, three_means_boundary
from losses.three_means import _interval_sums, _interval_sums_as_products

Values = NDArray[np.float64]
ABOVE_ALL = 1e300  # a positive that no negative violates


def boundary(negatives: Values | list[list[float]], positive: float = ABOVE_ALL) -> list[list[bool]]:
    values = torch.as_tensor(negatives, dtype=torch.float64)
    policy = torch.cat((torch.full_like(values[:, :1], positive), values), dim=1)
    selected: list[list[bool]] = three_means_boundary(ResponseScores(policy)).tolist()
    return selected


def test_three_groups_by_hand() -> None:
    """{−1, −1.2}, {−5, −5.1}, {−9} cost 0.02 + 0.005; every other cut splits a pair or joins two groups."""
    assert boundary([[-5, -1, -9, -1.2, -5.1]]) == [[False, True, False, True, False]]


def test_violations_come_first_and_include_equality() -> None:
    """s_w = −5: −4 and −5 violate; −1 and −2 are above it too. Without any, the top cluster counts."""
    assert boundary([[-4, -5, -6, -90]], positive=-5) == [[True, True, False, False]]
    assert boundary([[-1, -2, -40, -90]], positive=-50) == [[True, True, True, False]]
    assert boundary([[-1, -2, -40, -90]], positive=-0.5) == [[True, True, False, False]]


@pytest.mark.parametrize(
    ("negatives", "expected"),
    [
        ([-3], [True]),
        ([-3, -7], [True, False]),
        ([-3, -3], [True, True]),
        ([-7, -3, -3], [False, True, True]),
        ([-3, -7, -8], [True, False, False]),
        ([-3, -3.0000001, -9], [True, False, False]),
        ([-4] * 7, [True] * 7),
        ([-4, -4, -9, -9, -9], [True, True, False, False, False]),
        # Clusters of sizes 2, 1, 1 in any order cost 1/2: the larger B is taken.
        ([-1, -2, -3, -4], [True, True, False, False]),
        # No tie: {−2, −3} costs 1/2, {0, −2} or {−3, −5} 2.
        ([0, -2, -3, -5], [True, False, False, False]),
        # Equal values share a cluster though {0, 0, −1, −1} would split evenly in half only so.
        ([0, -1, 0, -1], [True, False, True, False]),
    ],
)
def test_few_values_and_ties_by_hand(negatives: list[float], expected: list[bool]) -> None:
    assert boundary([negatives]) == [expected]


def families(rng: np.random.Generator, rows: int, size: int) -> Values:
    """Ordinary and adversarial values: grids full of ties, far offsets, extreme scales, few values."""
    normal = rng.normal(size=(rows, size))
    kinds = [
        normal * 5 - 20,
        rng.integers(-4, 4, size=(rows, size)).astype(float),
        rng.integers(-2, 3, size=(rows, size)) * 0.1,
        normal * 1e-3 + 1e5,
        normal * 1e-12,
        normal * 1e12,
        np.exp(3 * normal),
        np.where(rng.random((rows, size)) < 0.3, -100.0, 0.0) + 0.01 * rng.integers(0, 3, size=(rows, size)),
        rng.choice([-1.0, -2.0, -1e6], size=(rows, size)),
        np.cumprod(np.full((rows, size), 2.0), axis=1) * rng.choice([1.0, 0.5], size=(rows, 1)),
    ]
    return np.stack(kinds)[rng.integers(len(kinds), size=rows), np.arange(rows)]


def brute_force(values: Values) -> tuple[Values, Values]:
    """Costs over all cuts a ≤ b of descending rows.

    Returns:
        The least cost of each row, and the least cost for each size a of the top cluster, `[rows, size]`.
    """
    values = values - values[:, :1]
    rows, size = values.shape

    def cost(start: int, end: int) -> Values:
        part = values[:, start:end]
        if start == end:
            return np.zeros(rows)
        return np.asarray(((part - part.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))

    by_top = np.full((rows, size), np.inf)
    for a, b in combinations_with_replacement(range(1, size + 1), 2):
        by_top[:, a - 1] = np.minimum(by_top[:, a - 1], cost(0, a) + cost(a, b) + cost(b, size))
    return by_top.min(axis=1), by_top


@pytest.mark.parametrize("size", range(1, 11))
def test_optimal_in_ten_thousand_cases(size: int) -> None:
    """1,000 rows of each size, shuffled into 12 columns of which the others are masked junk.

    The chosen top cluster belongs to a split of least cost, it holds the highest values, and equal values
    stay together.
    """
    rng = np.random.default_rng(size)
    rows, width = 1000, 12
    values = families(rng, rows, size)
    place = np.argsort(rng.random((rows, width)), axis=1)[:, :size]
    negatives = rng.choice([np.nan, 1e9, -3.0], size=(rows, width))
    np.put_along_axis(negatives, place, values, axis=1)
    mask = np.zeros((rows, width), dtype=bool)
    np.put_along_axis(mask, place, True, axis=1)
    policy = torch.from_numpy(np.concatenate((np.full((rows, 1), ABOVE_ALL), negatives), axis=1))
    selected = three_means_boundary(ResponseScores(policy, mask=torch.from_numpy(mask))).numpy()
    assert not (selected & ~mask).any()

    top = np.take_along_axis(selected, place, axis=1)
    count = top.sum(axis=1)
    assert (count > 0).all()
    assert (np.where(top, values, np.inf).min(axis=1) > np.where(top, -np.inf, values).max(axis=1)).all()
    best, by_top = brute_force(-np.sort(-values, axis=1))
    np.testing.assert_allclose(by_top[np.arange(rows), count - 1], best, rtol=1e-8, atol=0)


def exact_top(values: list[int]) -> int:
    """Size of the top cluster in exact arithmetic: min(3, distinct) clusters, ties to the larger B."""
    ranked = sorted(values, reverse=True)
    size = len(ranked)
    cuts = [c for c in range(1, size) if ranked[c - 1] > ranked[c]]
    clusters = min(3, len(set(values)))

    def cost(part: list[int]) -> Fraction:
        return Fraction(sum(v * v for v in part)) - Fraction(sum(part) ** 2, len(part))

    best: tuple[Fraction, int] | None = None
    for chosen in combinations_with_replacement(cuts, clusters - 1):
        if len(set(chosen)) < clusters - 1:
            continue
        edges = [0, *chosen, size]
        total = sum((cost(ranked[i:j]) for i, j in pairwise(edges)), Fraction(0))
        candidate = (total, -edges[1])
        best = candidate if best is None else min(best, candidate)
    assert best is not None
    return -best[1]


@settings(deadline=None, derandomize=True, max_examples=400)
@given(
    st.lists(st.integers(-6, 0), min_size=1, max_size=9),
    st.sampled_from([1.0, 0.1, 1e-6, 3e7, 1 / 3]),
    st.sampled_from([0.0, -7.0, 1e4]),
)
def test_ties_agree_with_exact_arithmetic(values: list[int], scale: float, offset: float) -> None:
    """Scaling and shifting rounds (0.1 · 3 ≠ 0.3), yet decides no tie."""
    shift = offset * scale
    selected = boundary([[value * scale + shift for value in values]])[0]
    assert sum(selected) == exact_top(values)
    floor = sorted(values, reverse=True)[sum(selected) - 1]
    assert selected == [value >= floor for value in values]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
    st.floats(-1e6, 1e6),
)
def test_order_of_negatives_never_matters(values: list[float], random: object, positive: float) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for reference in (positive, ABOVE_ALL):
        direct = boundary([values], reference)[0]
        assert boundary([[values[i] for i in order]], reference)[0] == [direct[i] for i in order]
        assert any(direct)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.integers(-4000, 0), min_size=1, max_size=10), st.integers(-(10**6), 10**6))
def test_shift_changes_nothing(values: list[int], shift: int) -> None:
    """In units of 1/64 both sides are exact in float64."""
    near = boundary([[value / 64 for value in values]])
    assert boundary([[value / 64 + shift for value in values]]) == near


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.lists(st.floats(-50, 0, width=32), min_size=5, max_size=5), min_size=2, max_size=6))
def test_rows_do_not_see_each_other(rows: list[list[float]]) -> None:
    together = boundary(rows)
    assert together == [boundary([row])[0] for row in rows]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_narrow_dtypes_are_taken_at_their_value(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    policy = (-40 * torch.rand(64, 20, generator=generator)).to(dtype)
    policy[:32, 0] = 1.0
    expected = three_means_boundary(ResponseScores(policy.double()))
    assert torch.equal(three_means_boundary(ResponseScores(policy)), expected)


def test_float32_extremes_and_many_negatives() -> None:
    """At the ends of float32, and at K = 64: two far groups and a middle one."""
    assert boundary([[-1.0, -1.1, -3e38, -2e38]]) == [[True, True, False, False]]
    groups = (
        [-1.0 - i / 1000 for i in range(20)]
        + [-50.0 - i for i in range(24)]
        + [-900.0 - i for i in range(20)]
    )
    assert boundary([groups]) == [[True] * 20 + [False] * 44]


def test_masked_rows_are_empty_and_disturb_none() -> None:
    policy = torch.tensor([[0.0, -1.0, -2.0, -9.0], [0.0, -1.0, -2.0, -9.0]])
    mask = torch.tensor([[False] * 3, [True] * 3])
    assert three_means_boundary(ResponseScores(policy, mask=mask)).tolist() == [
        [False] * 3,
        [True, False, False],
    ]


@pytest.mark.parametrize("size", [1, 2, 19])
def test_both_ways_to_sum_over_intervals_agree(size: int) -> None:
    """The CPU and other devices take different ones."""
    squares = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums = _interval_sums(squares)
    torch.testing.assert_close(_interval_sums_as_products(squares), sums, rtol=1e-13, atol=0)
    for i in range(size + 1):
        for j in range(size):
            torch.testing.assert_close(sums[:, i, j], squares[:, i:, : j + 1].sum((1, 2)))


def test_carries_no_gradient_and_needs_no_device_read() -> None:
    policy = torch.zeros(2, 5, device="meta", requires_grad=True)
    mask = torch.ones(2, 4, device="meta", dtype=torch.bool)
    selected = three_means_boundary(ResponseScores(policy, mask=mask))
    assert (selected.shape, selected.dtype, selected.requires_grad) == ((2, 4), torch.bool, False)
