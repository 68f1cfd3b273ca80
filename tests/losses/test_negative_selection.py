"""Selections: who is chosen, by hand and in general."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses import (
    AllNegatives,
    EasiestNegatives,
    HardestNegatives,
    NearestNegatives,
    RandomNegatives,
    ResponseScores,
    Selection,
    ThreeMeansBoundary,
    three_means_boundary,
)

SELECTIONS: list[Selection] = [
    AllNegatives(),
    ThreeMeansBoundary(),
    NearestNegatives(2),
    HardestNegatives(2),
    EasiestNegatives(2),
    RandomNegatives(2),
    RandomNegatives(),
]
MASK = torch.tensor([[True, True, False, True, True]])
SCORES = ResponseScores(
    torch.tensor([[-5.0, -1.0, -6.0, -5.0, -9.0, -4.5]]),
    mask=MASK,
    draws=torch.tensor([[0.7, 0.1, 0.0, 0.3, 0.5]]),
)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (AllNegatives(), [0, 1, 3, 4]),
        (ThreeMeansBoundary(), [0, 4]),  # −1 and −4.5 are above −5; so is −5 itself, but masked
        (NearestNegatives(1), [4]),  # distances 4, 1, –, 4, ½
        (NearestNegatives(2), [1, 4]),
        (HardestNegatives(2), [0, 4]),
        (EasiestNegatives(2), [1, 3]),
        (RandomNegatives(2), [1, 3]),  # draws .1 and .3; 0 is masked
        (RandomNegatives(), [1, 3]),  # as many as the paper's rule: two
        (HardestNegatives(4), [0, 1, 3, 4]),
        (EasiestNegatives(99), [0, 1, 3, 4]),
        (RandomNegatives(99), [0, 1, 3, 4]),
    ],
)
def test_by_hand(selection: Selection, expected: list[int]) -> None:
    assert selection(SCORES)[0].nonzero().flatten().tolist() == expected


def test_ties_at_the_last_place_go_to_the_earlier_column() -> None:
    """|s_w − s_i| = 1, 1, 1 and room for two."""
    scores = ResponseScores(torch.tensor([[-5.0, -4.0, -6.0, -4.0]]))
    assert NearestNegatives(2)(scores).tolist() == [[True, True, False]]


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
def test_counted_selections_take_the_extreme_ones(seed: int, size: int, m: int) -> None:
    """Ragged rows: exactly min(m, present) are taken, and nobody left out is better than anybody in."""
    generator = torch.Generator().manual_seed(seed)
    policy = torch.randint(-6, 1, (4, 1 + size), generator=generator).double()
    mask = torch.rand(4, size, generator=generator) < 0.7
    scores = ResponseScores(policy, mask=mask, draws=torch.rand(4, size, generator=generator))
    keys = {
        NearestNegatives: (policy[:, 1:] - policy[:, :1]).abs(),
        HardestNegatives: -policy[:, 1:],
        EasiestNegatives: policy[:, 1:],
        RandomNegatives: scores.draws,
    }
    for kind, key in keys.items():
        selected = kind(m)(scores)
        assert not (selected & ~mask).any()
        assert torch.equal(selected.sum(1), mask.sum(1).clamp(max=m))
        for row in range(4):
            inside, outside = key[row][selected[row]], key[row][mask[row] & ~selected[row]]
            assert not len(inside) or not len(outside) or inside.max() <= outside.min()
    matched = RandomNegatives()(scores)
    assert torch.equal(matched.sum(1), three_means_boundary(scores).sum(1))


def test_random_selection_is_uniform_and_blind_to_scores() -> None:
    """4,000 rows, 5 negatives, m = 2: each is taken in 40 % ± 5 standard errors (.0077), the hardest too."""
    generator = torch.Generator().manual_seed(0)
    policy = torch.tensor([[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]]).expand(4000, 6)
    rate = (
        RandomNegatives(2)(ResponseScores(policy, draws=torch.rand(4000, 5, generator=generator)))
        .double()
        .mean(0)
    )
    torch.testing.assert_close(rate, torch.full_like(rate, 0.4), rtol=0, atol=0.039)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_selections_wait_for_no_device(selection: Selection) -> None:
    policy = torch.zeros(2, 4, device="meta", requires_grad=True)
    mask = torch.ones(2, 3, device="meta", dtype=torch.bool)
    selected = selection(ResponseScores(policy, mask=mask, draws=torch.zeros(2, 3, device="meta")))
    assert (selected.shape, selected.dtype) == ((2, 3), torch.bool)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_rows_without_negatives_stay_empty(selection: Selection) -> None:
    scores = ResponseScores(SCORES.policy, mask=torch.zeros_like(MASK), draws=SCORES.draws)
    assert not selection(scores).any()


@pytest.mark.parametrize("kind", [NearestNegatives, HardestNegatives, EasiestNegatives, RandomNegatives])
@pytest.mark.parametrize("m", [0, -3])
def test_m_below_one_is_refused(kind: type[Selection], m: int) -> None:
    with pytest.raises(ValueError, match=f"m is {m}, expected at least 1"):
        kind(m)


@pytest.mark.parametrize("m", [None, 2])
def test_random_selection_refuses_missing_draws(m: int | None) -> None:
    with pytest.raises(ValueError, match="draws is None but RandomNegatives"):
        RandomNegatives(m)(ResponseScores(SCORES.policy))
