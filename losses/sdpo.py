"""Softmax DPO: the positive against the soft maximum of the negatives."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from losses.objective import Objective, split


def sdpo_loss(log_ratios: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
    """log(1 + Σ_{i∈B} exp(β_i (r_i − r_w))), B the selected negatives.

    Source: Chen et al., S-DPO, arXiv 2406.09215: −log σ(−log Σ_i exp(β (r_i − r_w))). Published code
    exponentiates before it sums and overflows; here it is a log-sum-exp.

    Args:
        log_ratios: `[B, 1 + K]`, r = log π − log π_ref in nats, the positive first.
        selected: `[B, K]` bool; a row without any has loss 0 and no gradient.
        beta: `[B, K]`, temperatures.

    Returns:
        `[B]`, in nats.
    """
    positive, negatives, beta = split(log_ratios, selected, beta)
    # Not −inf: a row without negatives would make NaN inside the backward pass, which anomaly detection
    # reports.
    absent = torch.finfo(log_ratios.dtype).min
    logits = torch.where(selected, beta * (negatives - positive), absent)
    return -logsigmoid(-logits.logsumexp(dim=1))


class SDPO(Objective):
    """S-DPO: `sdpo_loss`.

    Args:
        beta: Base temperature β ≥ 0.

    Raises:
        ValueError: beta is negative or not finite; in the call, the reference is missing.
    """

    needs_reference = True

    def loss(self, values: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
        """See `sdpo_loss`."""
        return sdpo_loss(values, selected, beta)
