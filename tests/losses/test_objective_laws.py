"""Laws of METHOD.md, each in its domain, under hypothesis."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from losses import (
    DMPO,
    DPO,
    MPPO,
    SDPO,
    AllNegatives,
    ConstantBeta,
    DualMarginBeta,
    DynamicPO,
    HardestNegatives,
    Objective,
    ResponseScores,
    SelectiveObjective,
    ThreeMeansBoundary,
)

BASE: list[Objective] = [DMPO(0.7), SDPO(0.7), MPPO(0.7), MPPO(length_normalized=True)]
EVERY: list[Objective] = [
    *BASE,
    *(DynamicPO(objective, gamma=1.0) for objective in BASE),
    SelectiveObjective(SDPO(0.7), ThreeMeansBoundary(), ConstantBeta()),
    SelectiveObjective(DMPO(0.7), AllNegatives(), DualMarginBeta()),
]

law = settings(deadline=None, derandomize=True, max_examples=60)
names = ("reference", "mask", "lengths", "draws")


@st.composite
def scores(draw: st.DrawFn, min_negatives: int = 1, max_negatives: int = 6) -> ResponseScores:
    """Ragged scores on a grid of 1/8 nat, so that ties and equality with the positive are common."""
    size = draw(st.integers(min_negatives, max_negatives))
    rows = draw(st.integers(1, 3))
    columns = rows * (1 + size)

    def grid(low: int, high: int) -> Tensor:
        values = draw(st.lists(st.integers(low, high), min_size=columns, max_size=columns))
        return torch.tensor(values, dtype=torch.float64).view(rows, 1 + size)

    policy = grid(draw(st.sampled_from([-20, -400])), 0) / 8
    mask = grid(0, 3)[:, 1:] > 0
    mask[:, draw(st.integers(0, size - 1))] = True
    return ResponseScores(policy, policy + grid(-40, 40) / 8, mask, grid(1, 8).long())


def change(given: ResponseScores, **fields: Tensor | None) -> ResponseScores:
    every = {name: getattr(given, name) for name in ("policy", *names)}
    return ResponseScores(**(every | fields))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@law
@given(scores(max_negatives=1), st.floats(0, 3))
def test_dpo_dmpo_and_sdpo_agree_at_one_negative(given: ResponseScores, beta: float) -> None:
    dpo = DPO(beta)(given).loss
    close(DMPO(beta)(given).loss, dpo)
    close(SDPO(beta)(given).loss, dpo)


@pytest.mark.parametrize("objective", EVERY)
@law
@given(given=scores(), random=st.randoms(use_true_random=False))
def test_order_of_negatives_does_not_matter(
    objective: Objective, given: ResponseScores, random: object
) -> None:
    size = given.mask.shape[1]
    order = list(range(size))
    random.shuffle(order)  # type: ignore[attr-defined]
    columns = [0, *(1 + i for i in order)]
    fields = {name: getattr(given, name)[:, columns] for name in ("policy", "reference", "lengths")}
    direct, permuted = objective(given), objective(change(given, mask=given.mask[:, order], **fields))
    close(permuted.loss, direct.loss)
    assert torch.equal(permuted.selected, direct.selected[:, order])
    close(permuted.beta, direct.beta[:, order])
    close(permuted.rewards, direct.rewards[:, columns])


@pytest.mark.parametrize("objective", EVERY)
@law
@given(given=scores(min_negatives=2))
def test_a_masked_negative_equals_an_absent_one(objective: Objective, given: ResponseScores) -> None:
    mask = given.mask.clone()
    mask[:, 0], mask[:, -1] = True, False
    fields = {name: getattr(given, name)[:, :-1] for name in ("policy", "reference", "lengths")}
    masked, absent = (
        objective(change(given, mask=mask)),
        objective(change(given, mask=mask[:, :-1], **fields)),
    )
    close(masked.loss, absent.loss)
    assert torch.equal(masked.selected[:, :-1], absent.selected)
    close(masked.beta[:, :-1], absent.beta)


@pytest.mark.parametrize("objective", EVERY)
@law
@given(given=scores())
def test_prompts_do_not_see_each_other(objective: Objective, given: ResponseScores) -> None:
    alone = change(
        given, **{name: getattr(given, name)[:1] for name in ("policy", "reference", "mask", "lengths")}
    )
    close(objective(alone).loss, objective(given).loss[:1])


@pytest.mark.parametrize("objective", [DMPO(0.7), SDPO(0.7), DynamicPO(DMPO(0.7)), DynamicPO(SDPO(0.7))])
@law
@given(given=scores(), shift=st.integers(-800, 800))
def test_a_constant_on_policy_and_reference_changes_nothing(
    objective: Objective, given: ResponseScores, shift: int
) -> None:
    """Differences of multiples of 1/8 are exact, so even the selection has to agree."""
    moved = change(given, policy=given.policy + shift / 8, reference=given.reference + shift / 8)
    close(objective(moved).loss, objective(given).loss)
    assert torch.equal(objective(moved).selected, objective(given).selected)


def test_mppo_does_change_with_a_constant() -> None:
    policy = torch.tensor([[-0.5, -1.5]])
    assert not torch.isclose(MPPO()(ResponseScores(policy)).loss, MPPO()(ResponseScores(policy - 1)).loss)


@law
@given(scores(), st.integers(-40, 40), st.floats(0, 3))
def test_equal_log_ratios_give_log_2_and_log_1_plus_k(given: ResponseScores, ratio: int, beta: float) -> None:
    equal = change(given, reference=given.policy - ratio / 8)
    close(DMPO(beta)(equal).loss, torch.full_like(given.policy[:, 0], math.log(2)))
    close(SDPO(beta)(equal).loss, torch.log1p(given.mask.sum(1).double()))


@pytest.mark.parametrize("objective", [DPO(0.3), *BASE])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@law
@given(data=st.data(), gamma=st.floats(-9, 9))
def test_alpha_0_on_all_negatives_is_the_base_objective_bit_for_bit(
    objective: Objective, dtype: torch.dtype, data: st.DataObject, gamma: float
) -> None:
    given = data.draw(scores(max_negatives=1 if isinstance(objective, DPO) else 6))
    results = []
    for variant in (objective, SelectiveObjective(objective, AllNegatives(), DualMarginBeta(gamma, 0.0))):
        policy = given.policy.to(dtype).requires_grad_()
        out = variant(change(given, policy=policy, reference=given.reference.to(dtype)))
        out.loss.sum().backward()
        results.append((out.loss, out.selected, out.beta, out.rewards, policy.grad))
    assert all(torch.equal(base, selective) for base, selective in zip(*results, strict=True))


@pytest.mark.parametrize("base", BASE)
@law
@given(given=scores())
def test_dynamicpo_is_its_parts_bit_for_bit(base: Objective, given: ResponseScores) -> None:
    whole = DynamicPO(base, gamma=1.5, alpha=0.25)(given)
    parts = SelectiveObjective(base, ThreeMeansBoundary(), DualMarginBeta(1.5, 0.25))(given)
    view = base.view(given)
    selected = ThreeMeansBoundary()(view)
    by_hand = base(given, selected, DualMarginBeta(1.5, 0.25)(view, selected, base.beta))
    for name in ("loss", "selected", "beta", "rewards"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))
        assert torch.equal(getattr(whole, name), getattr(by_hand, name))


@law
@given(scores())
def test_given_selection_and_beta_replace_the_computed_ones(given: ResponseScores) -> None:
    base = SDPO(0.7)
    selected = HardestNegatives(1)(given)
    beta = torch.full_like(given.policy[:, 1:], 0.2)
    out = DynamicPO(base)(given, selected, beta)
    assert torch.equal(out.loss, base(given, selected, beta).loss)
    assert torch.equal(out.selected, selected)


@law
@given(scores())
def test_an_objective_on_a_selection_is_the_objective_on_the_selected_alone(given: ResponseScores) -> None:
    """Selecting is removing: a mask of B instead of a selection of B gives the same loss."""
    selected = ThreeMeansBoundary()(given)
    for base in BASE[:3]:
        close(base(given, selected).loss, base(change(given, mask=selected)).loss)
