"""Rules that give every selected negative its own β."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from losses.scores import ResponseScores, check_selected


def check_base_beta(beta: float) -> float:
    """Return a base temperature if it is one.

    Args:
        beta: Temperature.

    Returns:
        The same.

    Raises:
        ValueError: It is negative or not finite.
    """
    if not (math.isfinite(beta) and beta >= 0):
        raise ValueError(
            f"beta is {beta}, expected a finite number >= 0: a negative one prefers the negatives"
        )
    return beta


class BetaRule(nn.Module, ABC):
    """Gives each selected negative a β, from scores that it does not differentiate."""

    @abstractmethod
    def forward(self, scores: ResponseScores, selected: Tensor, base_beta: float) -> Tensor:
        """Compute the temperatures.

        Args:
            scores: Log-probabilities; the policy's alone are read.
            selected: `[B, K]` bool, B.
            base_beta: β ≥ 0.

        Returns:
            `[B, K]`, at least float32, detached, 0 where not selected or masked.

        Raises:
            ValueError: selected has another shape or is not boolean; base_beta is negative or not finite.
        """


class ConstantBeta(BetaRule):
    """The base β for every selected negative."""

    def forward(self, scores: ResponseScores, selected: Tensor, base_beta: float) -> Tensor:
        """See `BetaRule.forward`."""
        check_selected(selected, scores.present)
        beta = torch.full_like(scores.log_probs()[:, 1:].detach(), check_base_beta(base_beta))
        return torch.where(selected & scores.present, beta, 0.0)


class DualMarginBeta(BetaRule):
    """DynamicPO's dual-margin adjustment: `dual_margin_beta`.

    Args:
        gamma: Offset γ of the margins, in nats. 2 in DynamicPO's early release, 6 in the later one.
        alpha: Strength 0 ≤ α < 1 of the adjustment; 0 leaves the base β.

    Raises:
        ValueError: gamma is not finite or alpha is outside [0, 1).
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.5) -> None:
        super().__init__()
        if not math.isfinite(gamma):
            raise ValueError(f"gamma is {gamma}, expected a finite number: the paper's are 2 and 6")
        if not 0 <= alpha < 1:
            raise ValueError(
                f"alpha is {alpha}, expected 0 <= alpha < 1: beta would lose its sign; the paper's is 0.5"
            )
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, scores: ResponseScores, selected: Tensor, base_beta: float) -> Tensor:
        """See `BetaRule.forward`."""
        check_selected(selected, scores.present)
        check_base_beta(base_beta)
        with torch.no_grad():
            log_probs = scores.log_probs()
            return dual_margin_beta(log_probs, scores.present, selected, base_beta, self.gamma, self.alpha)


def dual_margin_beta(
    log_probs: Tensor, present: Tensor, selected: Tensor, base_beta: float, gamma: float, alpha: float
) -> Tensor:
    """β_i = β (1 + α tanh((up_i − down_i − γ) / (|up_i| + |down_i|))), for i in B.

    up_i = s_w − s_i is the margin from positive to boundary, down_i = s_i − mean_{j∈S} s_j the one from
    boundary to easy, S being the negatives outside B, or B itself where nothing is outside. Where both
    margins are 0 the limit is taken, β (1 − α sign γ); the released code divides by 0 there.

    Source: DynamicPO, arXiv 2605.00327, dual-margin dynamic β.

    Args:
        log_probs: `[B, 1 + K]`, s in nats, the positive first, finite.
        present: `[B, K]` bool, the negatives that are there.
        selected: `[B, K]` bool, B.
        base_beta: β.
        gamma: γ, in nats.
        alpha: α.

    Returns:
        `[B, K]` in [β (1 − α), β (1 + α)], 0 outside B.
    """
    selected = selected & present
    easy = present & ~selected
    easy = torch.where(easy.any(dim=1, keepdim=True), easy, selected)
    up = log_probs[:, :1] - log_probs[:, 1:]
    # The mean is taken of differences: all scores equal then gives margins of exactly 0, whatever their size.
    down = (
        torch.where(easy, up, 0.0).sum(dim=1, keepdim=True) / easy.sum(dim=1, keepdim=True).clamp(min=1) - up
    )
    size = up.abs() + down.abs()
    adjustment = torch.tanh((up - down - gamma) / torch.where(size == 0, 1.0, size))
    limit = -math.copysign(1.0, gamma) if gamma else 0.0
    adjustment = torch.where(size == 0, limit, adjustment)
    return torch.where(selected, base_beta * (1 + alpha * adjustment), 0.0)
