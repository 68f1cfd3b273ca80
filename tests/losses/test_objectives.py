"""Objectives: values derived by hand, closed-form gradients, extremes, and what they refuse."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from losses import (
    DMPO,
    DPO,
    MPPO,
    SDPO,
    AllNegatives,
    ConstantBeta,
    DynamicPO,
    Objective,
    RandomNegatives,
    ResponseScores,
    SelectiveObjective,
    dmpo_loss,
    mppo_loss,
    sdpo_loss,
)

LN2, LN3 = math.log(2), math.log(3)

OBJECTIVES = {
    "dmpo": DMPO(0.7),
    "sdpo": SDPO(0.7),
    "mppo": MPPO(0.7),
    "mppo_mean": MPPO(length_normalized=True),
    "random": SelectiveObjective(SDPO(0.7), RandomNegatives(2), ConstantBeta()),
    "dynamic_dmpo": DynamicPO(DMPO(0.7)),
    "dynamic_sdpo": DynamicPO(SDPO(0.7)),
    "dynamic_mppo": DynamicPO(MPPO(0.7)),
    "dynamic_mppo_mean": DynamicPO(MPPO(length_normalized=True), gamma=0.5),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def row(*values: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([values], dtype=dtype)


def from_ratios(*ratios: float, dtype: torch.dtype = torch.float64, **rest: Tensor) -> ResponseScores:
    """Scores with the given log-ratios, the policy's log-probabilities being −20 + ratio."""
    return ResponseScores(
        row(*ratios, dtype=dtype) - 20, torch.full((1, len(ratios)), -20.0, dtype=dtype), **rest
    )


def gradient(objective: Objective, scores: ResponseScores) -> Tensor:
    policy = scores.policy.clone().requires_grad_()
    fields = {name: getattr(scores, name) for name in ("reference", "mask", "lengths", "draws")}
    objective(ResponseScores(policy, **fields)).loss.sum().backward()
    assert policy.grad is not None
    return policy.grad


def test_dpo_by_hand() -> None:
    """β (r_w − r_1) = ½ (ln 9 − 0) = ln 3, σ(ln 3) = 3/4, loss = ln 4/3."""
    out = DPO(beta=0.5)(from_ratios(2 * LN3, 0))
    assert out.loss.item() == pytest.approx(math.log(4 / 3), abs=1e-12)
    torch.testing.assert_close(out.rewards, row(LN3, 0))


def test_dmpo_by_hand() -> None:
    """Negatives ln 2 and −ln 2 have mean 0; r_w = ln 3; loss = −ln σ(ln 3) = ln 4/3."""
    out = DMPO(beta=1.0)(from_ratios(LN3, LN2, -LN2))
    assert out.loss.item() == pytest.approx(math.log(4 / 3), abs=1e-12)
    assert out.selected.all()
    assert out.beta.tolist() == [[1.0, 1.0]]


def test_sdpo_by_hand() -> None:
    """exp(r_i − r_w) = 2/3 and 1/6; loss = ln(1 + 2/3 + 1/6) = ln 11/6."""
    assert SDPO(beta=1.0)(from_ratios(LN3, LN2, -LN2)).loss.item() == pytest.approx(
        math.log(11 / 6), abs=1e-12
    )


def test_mppo_summed_by_hand() -> None:
    """Probabilities 1/2, 1/4, 1/8; 2·1/2 − 3/8 = 5/8; β = 8/5 ln 3 makes it ln 3; loss = ln 4/3."""
    beta = 1.6 * LN3
    out = MPPO(beta)(ResponseScores(row(-LN2, -2 * LN2, -3 * LN2)))
    assert out.loss.item() == pytest.approx(math.log(4 / 3), abs=1e-12)
    torch.testing.assert_close(out.rewards, beta * row(-LN2, -2 * LN2, -3 * LN2))


def test_mppo_length_normalized_by_hand() -> None:
    """Means −ln 2, −2 ln 2, −3 ln 2 of 4, 2, 3 tokens give p = 1/2, 1/4, 1/8; loss = ln(1 + e^(−5/8))."""
    scores = ResponseScores(row(-4 * LN2, -4 * LN2, -9 * LN2), lengths=torch.tensor([[4, 2, 3]]))
    out = MPPO(length_normalized=True)(scores)
    assert out.loss.item() == pytest.approx(math.log1p(math.exp(-5 / 8)), abs=1e-12)
    torch.testing.assert_close(out.rewards, row(-LN2, -2 * LN2, -3 * LN2))


# s_w = −1 and no violation. Of −2, −2.5, −9, −10 the best three clusters are {−2, −2.5}, {−9}, {−10} (sum of
# squares 1/8; {−9, −10} together would cost 1/2), so B = {−2, −2.5} and mean_S = −9.5. Margins: up = 1, 1.5;
# down = 7.5, 7; both sum to 8.5. With γ = 2, α = ½: β_i = 1 + ½ tanh(−8.5 / 8.5), 1 + ½ tanh(−7.5 / 8.5).
BY_HAND = (-1.0, -2.0, -9.0, -2.5, -10.0)
BETA_1, BETA_2 = 1 - math.tanh(1) / 2, 1 - math.tanh(15 / 17) / 2


def dynamic_by_hand(objective: Objective, reference: Tensor | None) -> float:
    out = DynamicPO(objective, gamma=2.0, alpha=0.5)(ResponseScores(row(*BY_HAND), reference))
    assert out.selected.tolist() == [[True, False, True, False]]
    torch.testing.assert_close(out.beta, row(BETA_1, 0, BETA_2, 0))
    return float(out.loss.item())


def test_dynamic_dmpo_by_hand() -> None:
    """With reference 0, r = s: z = ½ (β_1 · 1 + β_2 · 1.5)."""
    z = (BETA_1 + 1.5 * BETA_2) / 2
    assert dynamic_by_hand(DMPO(), torch.zeros(1, 5).double()) == pytest.approx(
        math.log1p(math.exp(-z)), abs=1e-12
    )


def test_dynamic_sdpo_by_hand() -> None:
    """Selection and margins see s, the loss r: reference (0, −3, 0, 0, 0) gives r − r_w = 2, …, −1.5 on B."""
    expected = math.log(1 + math.exp(2 * BETA_1) + math.exp(-1.5 * BETA_2))
    assert dynamic_by_hand(SDPO(), row(0, -3, 0, 0, 0)) == pytest.approx(expected, abs=1e-12)


def test_dynamic_mppo_by_hand() -> None:
    """A sum over B, not a mean: z = β_1 (e^−1 − e^−2) + β_2 (e^−1 − e^−2.5)."""
    z = BETA_1 * (math.exp(-1) - math.exp(-2)) + BETA_2 * (math.exp(-1) - math.exp(-2.5))
    assert dynamic_by_hand(MPPO(), None) == pytest.approx(math.log1p(math.exp(-z)), abs=1e-12)


def test_dynamic_mppo_on_means_selects_and_tempers_by_means() -> None:
    """Sums −1, −20, −2 of 1, 10, 1 tokens: means −1, −2, −2, so the top cluster has both, S is empty.

    By sums B would be {−2} alone. Means: up = 1, mean over B = −2, down = 0, β_i = 1 + ½ tanh((1 − 0 − ½) /
    1).
    """
    scores = ResponseScores(row(-1, -20, -2), lengths=torch.tensor([[1, 10, 1]]))
    out = DynamicPO(MPPO(length_normalized=True), gamma=0.5, alpha=0.5)(scores)
    beta = 1 + math.tanh(0.5) / 2
    assert out.selected.tolist() == [[True, True]]
    torch.testing.assert_close(out.beta, row(beta, beta))
    z = 2 * beta * (math.exp(-1) - math.exp(-2))
    assert out.loss.item() == pytest.approx(math.log1p(math.exp(-z)), abs=1e-12)


def test_dmpo_gradient_in_closed_form(random_scores: Callable[..., ResponseScores]) -> None:
    """∂loss/∂r_i = β_i σ(−z)/|B| for i in B, ∂loss/∂r_w = −Σ_B β_i σ(−z)/|B|."""
    for seed in range(20):
        scores = random_scores(seed)
        objective = DynamicPO(DMPO(0.7))
        out = objective(scores)
        ratios = scores.policy - scores.reference
        count = out.selected.sum(1, keepdim=True)
        z = (out.beta * (ratios[:, :1] - ratios[:, 1:])).sum(1, keepdim=True) / count
        negatives = out.beta * torch.sigmoid(-z) / count
        expected = torch.cat((-negatives.sum(1, keepdim=True), negatives), dim=1)
        torch.testing.assert_close(gradient(objective, scores), expected)


@every_objective
def test_gradcheck(objective: Objective, random_scores: Callable[..., ResponseScores]) -> None:
    scores = random_scores(3, batch=3, negatives=4)

    def loss(policy: Tensor) -> Tensor:
        # β and the selection are constants of the derivative: they are frozen at the point of the check.
        view = ResponseScores(policy, scores.reference, scores.mask, scores.lengths, scores.draws)
        fixed = objective(scores)
        value: Tensor = objective(view, fixed.selected, fixed.beta).loss
        return value

    assert torch.autograd.gradcheck(loss, (scores.policy.clone().requires_grad_(),))


@every_objective
def test_selection_and_beta_are_not_differentiated(
    objective: Objective, random_scores: Callable[..., ResponseScores]
) -> None:
    """The gradient equals that with selection and β given as constants."""
    scores = random_scores(5)
    out = objective(scores)
    policy = scores.policy.clone().requires_grad_()
    fixed = ResponseScores(policy, scores.reference, scores.mask, scores.lengths, scores.draws)
    objective(fixed, out.selected, out.beta).loss.sum().backward()
    assert torch.equal(gradient(objective, scores), policy.grad)
    assert not out.beta.requires_grad
    assert not out.rewards.requires_grad


@every_objective
def test_nothing_flows_into_unselected_and_masked(
    objective: Objective, random_scores: Callable[..., ResponseScores]
) -> None:
    for seed in range(10):
        scores = random_scores(seed)
        out = objective(scores)
        grad = gradient(objective, scores)[:, 1:]
        assert (grad[~out.selected] == 0).all()
        assert (grad[out.selected] != 0).all()
        assert not (out.selected & ~scores.mask).any()
        for masked in (out.rewards[:, 1:], out.beta):
            assert (masked[~scores.mask] == 0).all()
        assert (out.beta[~out.selected] == 0).all()


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
@every_objective
def test_masked_junk_changes_no_bit(
    objective: Objective, junk: float, random_scores: Callable[..., ResponseScores]
) -> None:
    scores = random_scores(7)
    spoiled = ResponseScores(
        torch.cat((scores.policy[:, :1], scores.policy[:, 1:].masked_fill(~scores.mask, junk)), dim=1),
        torch.cat((scores.reference[:, :1], scores.reference[:, 1:].masked_fill(~scores.mask, junk)), dim=1),
        scores.mask,
        torch.cat((scores.lengths[:, :1], scores.lengths[:, 1:].masked_fill(~scores.mask, 0)), dim=1),
        scores.draws.masked_fill(~scores.mask, junk),
    )
    assert not scores.mask.all()
    with torch.autograd.detect_anomaly(check_nan=True):
        assert torch.equal(gradient(objective, spoiled), gradient(objective, scores))
    clean, dirty = objective(scores), objective(spoiled)
    for name in ("loss", "selected", "beta", "rewards"):
        assert torch.equal(getattr(clean, name), getattr(dirty, name)), name


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@every_objective
def test_a_row_without_negatives_has_no_gradient(
    objective: Objective, random_scores: Callable[..., ResponseScores]
) -> None:
    scores = random_scores(1)
    scores.mask[2] = False
    with torch.autograd.detect_anomaly(check_nan=True):
        grad = gradient(objective, scores)
    assert (grad[2] == 0).all()
    assert (grad[[0, 1, 3, 4], 0] != 0).all()
    assert objective(scores).loss[2].item() in (0.0, pytest.approx(LN2, abs=1e-12))


@pytest.mark.parametrize("objective", [DMPO(), SDPO(), DynamicPO(DMPO()), DynamicPO(SDPO())])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("sign", "slope"), [(1, 0.0), (-1, 1.0)])
def test_no_overflow_at_log_ratios_of_ten_thousand(
    objective: Objective, dtype: torch.dtype, sign: int, slope: float
) -> None:
    """r_w = ±1e4 against r_i = ∓1e4: the loss is 0 or β_i · 2e4, its slope in r_w 0 or −mean β_i."""
    wanted, negative = sign * 1e4, -sign * 1e4
    policy = torch.tensor([[wanted, negative, negative]]).to(dtype)
    scores = ResponseScores(policy, torch.zeros(1, 3, dtype=dtype))
    out, grad = objective(scores), gradient(objective, scores)
    distance = policy.float()[0, 1] - policy.float()[0, 0]
    expected = slope * out.beta.max() * distance
    torch.testing.assert_close(out.loss, expected[None], rtol=1e-4, atol=1e-6)
    assert grad.isfinite().all()
    torch.testing.assert_close(grad[0, 0].float(), -slope * out.beta.max(), rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("objective", [MPPO(2.0), DynamicPO(MPPO(2.0))])
def test_mppo_underflows_to_log_2(objective: Objective) -> None:
    """exp(−1e4) is 0: nothing is told apart, so z = 0."""
    scores = ResponseScores(torch.tensor([[-1e4, -1.1e4, -2e4]]))
    assert objective(scores).loss.item() == pytest.approx(LN2, abs=1e-6)
    assert (gradient(objective, scores) == 0).all()


@every_objective
def test_bfloat16_is_computed_in_float32(
    objective: Objective, random_scores: Callable[..., ResponseScores]
) -> None:
    scores = random_scores(11, dtype=torch.bfloat16)
    wide = ResponseScores(
        scores.policy.float(), scores.reference.float(), scores.mask, scores.lengths, scores.draws
    )
    assert objective(scores).loss.dtype == torch.float32
    assert torch.equal(objective(scores).loss, objective(wide).loss)
    assert torch.equal(gradient(objective, scores), gradient(objective, wide).bfloat16())


@every_objective
def test_float32_is_close_to_float64(
    objective: Objective, random_scores: Callable[..., ResponseScores]
) -> None:
    narrow = random_scores(13, dtype=torch.float32)
    wide = ResponseScores(
        narrow.policy.double(), narrow.reference.double(), narrow.mask, narrow.lengths, narrow.draws
    )
    assert objective(narrow).loss.dtype == torch.float32
    assert objective(wide).loss.dtype == torch.float64
    torch.testing.assert_close(objective(narrow).loss.double(), objective(wide).loss, rtol=1e-5, atol=1e-6)


@every_objective
def test_same_inputs_give_same_bits(
    objective: Objective, random_scores: Callable[..., ResponseScores]
) -> None:
    first, second = random_scores(17, dtype=torch.float32), random_scores(17, dtype=torch.float32)
    assert torch.equal(objective(first).loss, objective(second).loss)
    assert torch.equal(gradient(objective, first), gradient(objective, second))


@every_objective
def test_autocast_changes_no_bit(objective: Objective, random_scores: Callable[..., ResponseScores]) -> None:
    scores = random_scores(19, dtype=torch.float32)
    plain = objective(scores)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = objective(scores)
    for name in ("loss", "selected", "beta", "rewards"):
        assert torch.equal(getattr(plain, name), getattr(cast, name)), name


@every_objective
def test_nothing_waits_for_the_device(
    objective: Objective, random_scores: Callable[..., ResponseScores]
) -> None:
    """The meta device has no values: whatever asked for one would raise."""
    scores = random_scores(23)
    policy = scores.policy.to("meta").requires_grad_()
    rest = (tensor.to("meta") for tensor in (scores.reference, scores.mask, scores.lengths, scores.draws))
    out = objective(ResponseScores(policy, *rest))
    out.loss.mean().backward()
    assert out.loss.device.type == "meta"
    assert policy.grad.shape == policy.shape


@every_objective
def test_masked_negatives_cannot_be_selected(
    objective: Objective, random_scores: Callable[..., ResponseScores]
) -> None:
    scores = random_scores(27)
    everything = torch.ones_like(scores.mask)
    out = objective(scores, everything, torch.full_like(scores.policy[:, 1:], 0.7))
    assert torch.equal(out.selected, scores.mask)
    assert torch.equal(out.beta, torch.full_like(out.beta, 0.7).masked_fill(~scores.mask, 0))


@pytest.mark.parametrize("function", [dmpo_loss, sdpo_loss, mppo_loss])
@pytest.mark.parametrize("junk", [math.nan, math.inf, 1e4])
def test_functions_ignore_what_is_not_selected(function: Callable[..., Tensor], junk: float) -> None:
    """Neither its value nor its β reaches the loss or a gradient."""
    selected = torch.tensor([[True, False, True]])
    spoiled, clean = row(-1, -2, junk, -3).requires_grad_(), row(-1, -2, -5, -3).requires_grad_()
    loss = function(spoiled, selected, row(0.5, junk, 0.7))
    expected = function(clean, selected, row(0.5, 0, 0.7))
    assert torch.equal(loss, expected)
    (loss + expected).sum().backward()
    assert torch.equal(spoiled.grad, clean.grad)


def test_a_learned_beta_gets_a_gradient_but_is_reported_detached() -> None:
    beta = row(0.5, 0.7).requires_grad_()
    out = DMPO()(from_ratios(1, 0, 0.5), beta=beta)
    out.loss.sum().backward()
    assert (beta.grad < 0).all()
    assert not out.beta.requires_grad


def test_the_mean_view_holds_nothing_that_is_still_a_sum() -> None:
    """−8 of 4 tokens is −2; taking the view of the view is refused, not divided again."""
    objective = MPPO(length_normalized=True)
    lengths = torch.tensor([[1, 4]])
    view = objective.view(ResponseScores(row(-1, -8), row(-1, -8), lengths=lengths))
    assert view.policy.tolist() == [[-1.0, -2.0]]
    assert view.reference is None
    with pytest.raises(ValueError, match="lengths is None"):
        objective.view(view)


def test_no_mask_is_a_full_mask(random_scores: Callable[..., ResponseScores]) -> None:
    scores = random_scores(29)
    full = ResponseScores(scores.policy, scores.reference, torch.ones_like(scores.mask))
    for objective in (DMPO(), SDPO(), MPPO(), DynamicPO(DMPO())):
        none = objective(ResponseScores(scores.policy, scores.reference))
        assert torch.equal(none.loss, objective(full).loss)


def test_the_reference_gets_no_gradient(random_scores: Callable[..., ResponseScores]) -> None:
    scores = random_scores(31)
    reference = scores.reference.clone().requires_grad_()
    policy = scores.policy.clone().requires_grad_()
    DMPO()(ResponseScores(policy, reference)).loss.sum().backward()
    assert reference.grad is None


@pytest.mark.parametrize(
    ("objective", "reference", "lengths", "draws"),
    [
        (DPO(), True, False, False),
        (DMPO(), True, False, False),
        (SDPO(), True, False, False),
        (MPPO(), False, False, False),
        (MPPO(length_normalized=True), False, True, False),
        (DynamicPO(DMPO()), True, False, False),
        (DynamicPO(MPPO(length_normalized=True)), False, True, False),
        (SelectiveObjective(MPPO(), RandomNegatives(), ConstantBeta()), False, False, True),
        (SelectiveObjective(SDPO(), AllNegatives(), ConstantBeta()), True, False, False),
    ],
)
def test_needs_are_declared_and_enforced(
    objective: Objective, reference: bool, lengths: bool, draws: bool
) -> None:
    """What is declared suffices; each of it left out is an error that names it."""
    assert (objective.needs_reference, objective.needs_lengths, objective.needs_draws) == (
        reference,
        lengths,
        draws,
    )
    policy = row(-1, -2)
    given = {
        name: value
        for name, needed, value in (
            ("reference", reference, policy),
            ("lengths", lengths, torch.ones(1, 2)),
            ("draws", draws, row(0.5)),
        )
        if needed
    }
    assert objective(ResponseScores(policy, **given)).loss.isfinite().all()
    for name in given:
        rest = {key: value for key, value in given.items() if key != name}
        with pytest.raises(ValueError, match=f"{name} is None"):
            objective(ResponseScores(policy, **rest))


@pytest.mark.parametrize("kind", [DPO, DMPO, SDPO, MPPO])
@pytest.mark.parametrize("beta", [-0.1, math.nan, math.inf])
def test_impossible_beta_is_refused(kind: type[Objective], beta: float) -> None:
    with pytest.raises(ValueError, match=f"beta is {beta}, expected"):
        kind(beta=beta)


def test_dpo_refuses_several_negatives() -> None:
    with pytest.raises(ValueError, match=r"K = 2 negatives but DPO.*DMPO or SDPO"):
        DPO()(from_ratios(1, 0, 0))


@every_objective
def test_misshapen_selection_and_beta_are_refused(
    objective: Objective, random_scores: Callable[..., ResponseScores]
) -> None:
    scores = random_scores(1)
    with pytest.raises(ValueError, match=r"selected has shape \(5, 7\), expected \(5, 6\)"):
        objective(scores, selected=torch.ones(5, 7, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"selected has dtype torch\.int64"):
        objective(scores, selected=torch.ones(5, 6, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"beta has shape \(5, 1\), expected \(5, 6\)"):
        objective(scores, beta=torch.ones(5, 1))


@pytest.mark.parametrize("objective", [DMPO(beta=1.0), SDPO(beta=1.0), MPPO(beta=1.0)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_not_a_number_reaches_the_loss(objective: Objective, place: int) -> None:
    """Or a run whose weights are lost would train on, at a loss of 0 for want of a boundary."""
    policy = torch.tensor([[-1.0, -2.0, -3.0]])
    policy[0, place] = torch.nan
    scores = ResponseScores(policy, torch.zeros(1, 3))
    assert DynamicPO(objective)(scores).loss.isnan().all()
