"""Direct preference optimisation: one positive against one negative."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from losses.objective import Objective, split


def dpo_loss(log_ratios: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
    """−log σ(β (r_w − r_1)).

    Source: Rafailov et al., arXiv 2305.18290, equation 7.

    Args:
        log_ratios: `[B, 2]`, r = log π − log π_ref in nats, the positive first.
        selected: `[B, 1]` bool; where False the loss is log 2 and has no gradient.
        beta: `[B, 1]`, temperatures.

    Returns:
        `[B]`, in nats.

    Raises:
        ValueError: There is more than one negative.
    """
    negatives = log_ratios.shape[1] - 1
    if negatives != 1:
        raise ValueError(
            f"K = {negatives} negatives but DPO compares one pair: give K = 1, or use DMPO or SDPO"
        )
    positive, negative, beta = split(log_ratios, selected, beta)
    return -logsigmoid(beta * (positive - negative))[:, 0]


class DPO(Objective):
    """DPO on K = 1 negative: `dpo_loss`.

    Args:
        beta: Temperature β ≥ 0.

    Raises:
        ValueError: beta is negative or not finite; in the call, K is not 1 or the reference is missing.
    """

    needs_reference = True
    most_negatives = 1

    def loss(self, values: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
        """See `dpo_loss`."""
        return dpo_loss(values, selected, beta)
