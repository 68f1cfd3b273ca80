"""β rules: the dual margin by hand, at its limits, and within its bounds."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses import BetaRule, ConstantBeta, DualMarginBeta, ResponseScores, three_means_boundary

finite = st.floats(-100, 0, width=32)
rows = st.lists(finite, min_size=2, max_size=8)


def scores(*values: float, mask: list[bool] | None = None) -> ResponseScores:
    there = None if mask is None else torch.tensor([mask])
    return ResponseScores(torch.tensor([values], dtype=torch.float64), mask=there)


def select(*chosen: bool) -> torch.Tensor:
    return torch.tensor([chosen])


def test_dual_margin_by_hand() -> None:
    """s_w = −1, B = {−2}, S = {−4, −6}: up = 1, down = −2 + 5 = 3, (1 − 3 − 2) / 4 = −1, β = 2 − tanh 1."""
    beta = DualMarginBeta(2.0, 0.5)(scores(-1, -2, -4, -6), select(True, False, False), 2.0)
    assert beta.tolist() == [[pytest.approx(2 - math.tanh(1)), 0, 0]]


def test_easy_mean_leaves_out_masked_negatives() -> None:
    """The masked −100 does not move mean_S = −5."""
    given = scores(-1, -2, -4, -100, -6, mask=[True, True, False, True])
    beta = DualMarginBeta(2.0, 0.5)(given, select(True, False, False, False), 2.0)
    assert beta.tolist() == [[pytest.approx(2 - math.tanh(1)), 0, 0, 0]]


def test_without_easy_negatives_the_mean_is_over_the_boundary() -> None:
    """s_w = −1, B = {−2, −4}, mean −3: up = 1, 3; down = 1, −1; (1 − 1) / 2 = 0 and (3 + 1) / 4 = 1."""
    beta = DualMarginBeta(0.0, 0.5)(scores(-1, -2, -4), select(True, True), 1.0)
    assert beta.tolist() == [[pytest.approx(1.0), pytest.approx(1 + math.tanh(1) / 2)]]


@pytest.mark.parametrize(
    ("gamma", "expected"), [(2.0, 0.5), (1e-9, 0.5), (0.0, 1.0), (-0.0, 1.0), (-2.0, 1.5)]
)
@pytest.mark.parametrize("value", [-0.1, -33.3, -12345.678])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_margins_zero_takes_the_limit(
    gamma: float, expected: float, value: float, dtype: torch.dtype
) -> None:
    """All scores equal: β (1 − α sign γ), whatever the rounding of their mean."""
    policy = torch.full((1, 8), value, dtype=dtype)
    beta = DualMarginBeta(gamma, 0.5)(ResponseScores(policy), torch.ones(1, 7, dtype=torch.bool), 1.0)
    assert beta.tolist() == [[expected] * 7]


@settings(deadline=None, derandomize=True)
@given(rows, st.floats(-20, 20), st.floats(0, 0.99), st.floats(0, 5))
def test_beta_stays_within_its_bounds(values: list[float], gamma: float, alpha: float, base: float) -> None:
    given = scores(*values)
    selected = three_means_boundary(given)
    beta = DualMarginBeta(gamma, alpha)(given, selected, base)
    inside = beta[selected]
    assert len(inside) > 0
    assert (inside >= base * (1 - alpha) * (1 - 1e-12)).all()
    assert (inside <= base * (1 + alpha) * (1 + 1e-12)).all()
    assert (beta[~selected] == 0).all()


@settings(deadline=None, derandomize=True)
@given(rows, st.floats(0, 20))
def test_violations_above_the_easy_mean_are_down_weighted(values: list[float], gamma: float) -> None:
    """Where up ≤ 0 ≤ down and γ ≥ 0: at most β (1 − α tanh 1), at least β (1 − α)."""
    values[1] = max(values)  # the hardest negative violates, and lies above every mean
    given = scores(*values)
    beta = DualMarginBeta(gamma, 0.5)(given, three_means_boundary(given), 1.0)[0, 0].item()
    equal_all = len(set(values)) == 1
    assert 0.5 <= beta <= (1.0 if equal_all and gamma == 0 else 1 - math.tanh(1) / 2 + 1e-12)


@settings(deadline=None, derandomize=True)
@given(rows, st.floats(-20, 20))
def test_above_base_exactly_where_up_exceeds_down_by_gamma(values: list[float], gamma: float) -> None:
    given = scores(*values)
    selected = torch.zeros(1, len(values) - 1, dtype=torch.bool)
    selected[0, 0] = True
    beta = DualMarginBeta(gamma, 0.5)(given, selected, 1.0)[0, 0].item()
    easy = values[2:] or values[1:2]
    up, down = values[0] - values[1], values[1] - sum(easy) / len(easy)
    surplus = up - down - gamma
    if abs(surplus) > 1e-9:
        assert (beta > 1) == (surplus > 0)


@pytest.mark.parametrize("rule", [ConstantBeta(), DualMarginBeta()])
def test_beta_is_detached_and_waits_for_no_device(rule: BetaRule) -> None:
    policy = torch.zeros(2, 4, device="meta", requires_grad=True)
    beta = rule(ResponseScores(policy), torch.ones(2, 3, dtype=torch.bool, device="meta"), 1.0)
    assert not beta.requires_grad
    assert beta.shape == (2, 3)


def test_constant_beta_leaves_out_what_is_not_there() -> None:
    given = scores(-1, -2, -3, -4, mask=[True, True, False])
    assert ConstantBeta()(given, select(True, False, True), 0.3).tolist() == [[0.3, 0.0, 0.0]]


def test_dual_margin_leaves_out_what_is_not_there() -> None:
    """A masked negative in the selection counts neither in B nor in the mean over B (−3)."""
    given = scores(-1, -2, -4, -50, mask=[True, True, False])
    beta = DualMarginBeta(0.0, 0.5)(given, select(True, True, True), 1.0)
    assert beta.tolist() == [[pytest.approx(1.0), pytest.approx(1 + math.tanh(1) / 2), 0]]


@pytest.mark.parametrize("gamma", [math.nan, math.inf, -math.inf])
def test_gamma_must_be_finite(gamma: float) -> None:
    with pytest.raises(ValueError, match=f"gamma is {gamma}, expected a finite number"):
        DualMarginBeta(gamma=gamma)


@pytest.mark.parametrize("alpha", [-0.1, 1.0, 1.5, math.nan])
def test_alpha_must_be_in_range(alpha: float) -> None:
    with pytest.raises(ValueError, match=f"alpha is {alpha}, expected 0 <= alpha < 1"):
        DualMarginBeta(alpha=alpha)


@pytest.mark.parametrize("rule", [ConstantBeta(), DualMarginBeta()])
def test_rules_refuse_what_does_not_fit(rule: BetaRule) -> None:
    given = scores(-1, -2, -3)
    with pytest.raises(ValueError, match=r"selected has shape \(1, 3\), expected \(1, 2\)"):
        rule(given, select(True, True, True), 1.0)
    with pytest.raises(ValueError, match=r"beta is -1\.0, expected"):
        rule(given, select(True, True), -1.0)
