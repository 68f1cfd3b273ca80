"""Multi pair-wise preference optimisation: probabilities instead of log-ratios, and no reference model."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from losses.objective import Objective, split
from losses.scores import ResponseScores


def mppo_loss(log_probs: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
    """−log σ(Σ_{i∈B} β_i (exp(s_w) − exp(s_i))), B the selected negatives: a sum, not a mean.

    With every negative and one β it is −log σ(β [K exp(s_w) − Σ_i exp(s_i)]), as in DynamicPO's code (arXiv
    2605.00327); on **mean** token log-probabilities and with β = 1 it is Pair-MNM of Xie et al., MPPO, arXiv
    2412.15244.

    Args:
        log_probs: `[B, 1 + K]`, s ≤ 0 in nats, the positive first.
        selected: `[B, K]` bool; a row without any has loss log 2 and no gradient.
        beta: `[B, K]`, temperatures.

    Returns:
        `[B]`, in nats.
    """
    positive, negatives, beta = split(log_probs, selected, beta)
    return -logsigmoid((beta * (positive.exp() - negatives.exp())).sum(dim=1))


class MPPO(Objective):
    """MPPO: `mppo_loss`, on summed or on mean log-probabilities.

    Sequence probabilities are tiny (a response of 20 nats has 2e-9), and so is the summed form's gradient.

    Args:
        beta: Base temperature β ≥ 0. The MPPO paper has none: leave it at 1 with `length_normalized`.
        length_normalized: Use the mean token log-probability, as in the MPPO paper; a selection or a β rule
            around this objective then sees the means too. False: the sum, as in DynamicPO's code.

    Raises:
        ValueError: beta is negative or not finite; in the call, lengths are missing with `length_normalized`.
    """

    def __init__(self, beta: float = 1.0, length_normalized: bool = False) -> None:
        super().__init__(beta)
        self.length_normalized = length_normalized
        self.needs_lengths = length_normalized

    def view(self, scores: ResponseScores) -> ResponseScores:
        """Mean token log-probabilities where `length_normalized`, else the scores as they are.

        Args:
            scores: Summed log-probabilities and, where `length_normalized`, lengths.

        Returns:
            Scores without lengths and reference where they became means: neither has a use any more, and a
            second division would go unnoticed.

        Raises:
            ValueError: lengths are missing.
        """
        if not self.length_normalized:
            return scores
        if scores.lengths is None:
            raise ValueError(
                "lengths is None but MPPO(length_normalized=True) takes means over tokens: "
                "give the number of tokens of each response"
            )
        log_probs = scores.log_probs()
        lengths = torch.where(scores.columns, scores.lengths, 1).to(log_probs.dtype)
        return replace(scores, policy=log_probs / lengths, reference=None, lengths=None)

    def loss(self, values: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
        """See `mppo_loss`."""
        return mppo_loss(values, selected, beta)
