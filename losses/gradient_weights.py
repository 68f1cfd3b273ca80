"""How much of the loss's gradient each negative carries, from the loss alone."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from losses.objective import Objective
from losses.scores import ResponseScores, check_selected, check_shape


@dataclass(frozen=True, eq=False)
class GradientShares:
    """Gradient weight inside and outside the boundary, one row per prompt.

    For a rate over many prompts or ranks, sum both totals first and divide then.

    Attributes:
        boundary: `[B]`, Σ_{i∈B} |∂loss/∂s_i|.
        easy: `[B]`, Σ_{i∈S} |∂loss/∂s_i|.
    """

    boundary: Tensor
    easy: Tensor

    @property
    def boundary_share(self) -> Tensor:
        """`[B]`, the share of B in the negatives' weight; 0 where no negative has any."""
        return self.boundary / self._total

    @property
    def easy_share(self) -> Tensor:
        """`[B]`, the share of S in the negatives' weight; 0 where no negative has any."""
        return self.easy / self._total

    @property
    def _total(self) -> Tensor:
        total = self.boundary + self.easy
        return torch.where(total == 0, 1.0, total)


def gradient_weights(objective: Objective, scores: ResponseScores) -> Tensor:
    """w_i = |∂loss/∂s_i| of every negative.

    Autograd on detached scores: the model is not touched, nothing of a training step changes. Call it outside
    `torch.inference_mode`, whose tensors autograd refuses.

    For DMPO w_i = β σ(−z) / K, z being the argument of the log-sigmoid: every negative weighs the same. For
    S-DPO it is β exp(β (r_i − r_w)) / (1 + Σ_j exp(β (r_j − r_w))).

    Args:
        objective: The objective, its selection and β included.
        scores: Log-probabilities of the responses.

    Returns:
        `[B, K]`, at least float32, 0 where masked or not selected.

    Raises:
        ValueError: What the objective needs is missing.
    """
    policy = scores.policy.detach().to(torch.promote_types(scores.policy.dtype, torch.float32)).clone()
    with torch.enable_grad():
        loss: Tensor = objective(replace(scores, policy=policy.requires_grad_())).loss
        (gradient,) = torch.autograd.grad(loss.sum(), policy)
    return gradient[:, 1:].abs()


def gradient_shares(weights: Tensor, boundary: Tensor, present: Tensor) -> GradientShares:
    """Part the gradient's weight between boundary-critical and easy negatives.

    Args:
        weights: `[B, K]`, from `gradient_weights`.
        boundary: `[B, K]` bool, B, from `three_means_boundary`.
        present: `[B, K]` bool, the negatives that are there; S is what of them is not in B.

    Returns:
        The two totals of each prompt, and their shares.

    Raises:
        ValueError: The shapes differ, or a mask is not boolean.
    """
    check_selected(boundary, present)
    check_shape("weights", weights, present.shape, "[B, K]")
    boundary = boundary & present
    return GradientShares(
        boundary=torch.where(boundary, weights, 0.0).sum(dim=1),
        easy=torch.where(present & ~boundary, weights, 0.0).sum(dim=1),
    )
