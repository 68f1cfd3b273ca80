"""Gradient weights of the negatives: closed forms, shares, and no trace left behind."""

import math
from collections.abc import Callable

import pytest
import torch

from losses import (
    DMPO,
    MPPO,
    SDPO,
    DynamicPO,
    Objective,
    ResponseScores,
    gradient_shares,
    gradient_weights,
    three_means_boundary,
)

POLICY = torch.tensor([[-1.0, -2.0, -9.0, -2.5, -10.0]], dtype=torch.float64)
SCORES = ResponseScores(POLICY, torch.zeros_like(POLICY))
BOUNDARY = torch.tensor([[True, False, True, False]])


def test_dmpo_weighs_every_negative_alike() -> None:
    """w_i = β σ(−z) / K with z = β (−1 + (2 + 9 + 2.5 + 10) / 4) = 4.875 β; the share of S is |S| / K."""
    weights = gradient_weights(DMPO(0.4), SCORES)
    torch.testing.assert_close(weights, torch.full_like(weights, 0.1 / (1 + math.exp(0.4 * 4.875))))
    shares = gradient_shares(weights, BOUNDARY, SCORES.present)
    assert shares.easy_share.item() == pytest.approx(0.5)
    assert shares.boundary_share.item() == pytest.approx(0.5)


def test_sdpo_weighs_by_a_softmax() -> None:
    """Exponents −1, −8, −1.5, −9 and 0 for the positive."""
    expected = torch.tensor([[0.0, -1.0, -8.0, -1.5, -9.0]], dtype=torch.float64).softmax(1)[:, 1:]
    weights = gradient_weights(SDPO(), SCORES)
    torch.testing.assert_close(weights, expected)
    shares = gradient_shares(weights, BOUNDARY, SCORES.present)
    torch.testing.assert_close(shares.boundary, expected[:, 0] + expected[:, 2])
    torch.testing.assert_close(shares.easy, expected[:, 1] + expected[:, 3])


def test_mppo_weighs_by_probability() -> None:
    """w_i = σ(−z) exp(s_i), so weights stand in the ratio of the probabilities."""
    weights = gradient_weights(MPPO(), SCORES)[0]
    torch.testing.assert_close(weights / weights[0], (POLICY[0, 1:] - POLICY[0, 1]).exp())


class RaisesNegatives(Objective):
    """An objective of somebody else, which pushes negatives up."""

    def loss(self, values: torch.Tensor, selected: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        return -(beta * values[:, 1:]).sum(dim=1)


def test_weights_have_no_sign() -> None:
    assert gradient_weights(RaisesNegatives(0.5), SCORES).tolist() == [[0.5] * 4]


def test_dynamicpo_gives_the_easy_ones_nothing(random_scores: Callable[..., ResponseScores]) -> None:
    scores = random_scores(0)
    shares = gradient_shares(
        gradient_weights(DynamicPO(DMPO()), scores), three_means_boundary(scores), scores.mask
    )
    assert (shares.easy == 0).all()
    assert (shares.boundary_share == 1).all()


def test_shares_add_up_and_are_zero_without_any_weight(random_scores: Callable[..., ResponseScores]) -> None:
    scores = random_scores(1)
    scores.mask[0] = False
    weights = gradient_weights(SDPO(), scores)
    shares = gradient_shares(weights, three_means_boundary(scores), scores.mask)
    torch.testing.assert_close(shares.boundary + shares.easy, weights.sum(1))
    assert (shares.boundary_share + shares.easy_share).tolist() == [0, *[pytest.approx(1)] * 4]


def test_masked_weights_count_nowhere() -> None:
    mask = torch.tensor([[True, False, False, True]])
    shares = gradient_shares(torch.ones(1, 4), BOUNDARY, mask)
    assert (shares.boundary.item(), shares.easy.item()) == (1, 1)


def test_the_step_is_left_alone() -> None:
    """The graph of the scores, their gradient and their version are as before; it works under no_grad too."""
    weight = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    policy = weight * POLICY
    scores = ResponseScores(policy, SCORES.reference)
    inside = gradient_weights(DynamicPO(SDPO()), scores)
    with torch.no_grad():
        assert torch.equal(gradient_weights(DynamicPO(SDPO()), scores), inside)
    assert weight.grad is None
    assert policy._version == 0
    assert not inside.requires_grad
    policy.sum().backward()
    assert weight.grad is not None


def test_bfloat16_weights_are_float32() -> None:
    scores = ResponseScores(POLICY.bfloat16(), SCORES.reference.bfloat16())
    weights = gradient_weights(SDPO(), scores)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.double(), gradient_weights(SDPO(), SCORES), rtol=1e-5, atol=1e-7)


def test_no_device_is_waited_for() -> None:
    scores = ResponseScores(POLICY.to("meta"), SCORES.reference.to("meta"))
    weights = gradient_weights(DynamicPO(DMPO()), scores)
    shares = gradient_shares(weights, three_means_boundary(scores), scores.present)
    assert shares.easy_share.shape == (1,)


def test_misshapen_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weights has shape \(1, 5\), expected \(1, 4\)"):
        gradient_shares(torch.ones(1, 5), BOUNDARY, BOUNDARY)
    with pytest.raises(ValueError, match=r"selected has dtype torch\.int64"):
        gradient_shares(torch.ones(1, 4), BOUNDARY.long(), BOUNDARY)
