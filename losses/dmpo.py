"""Direct multi-preference optimisation: the positive against the mean of the negatives."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from losses.objective import Objective, split


def dmpo_loss(log_ratios: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
    """−log σ((1/|B|) Σ_{i∈B} β_i (r_w − r_i)), B the selected negatives.

    With every negative and one β it is −log σ(β r_w − (1/K) Σ_i β r_i).

    Source: Bai et al., CIKM 2024, arXiv 2405.16127, in the form in which DynamicPO (arXiv 2605.00327) states
    and extends it; the released DMPO code computes something else.

    Args:
        log_ratios: `[B, 1 + K]`, r = log π − log π_ref in nats, the positive first.
        selected: `[B, K]` bool; a row without any has loss log 2 and no gradient.
        beta: `[B, K]`, temperatures.

    Returns:
        `[B]`, in nats.
    """
    positive, negatives, beta = split(log_ratios, selected, beta)
    margins = (beta * (positive - negatives)).sum(dim=1)
    return -logsigmoid(margins / selected.sum(dim=1).clamp(min=1))


class DMPO(Objective):
    """DMPO: `dmpo_loss`.

    Args:
        beta: Base temperature β ≥ 0.

    Raises:
        ValueError: beta is negative or not finite; in the call, the reference is missing.
    """

    needs_reference = True

    def loss(self, values: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
        """See `dmpo_loss`."""
        return dmpo_loss(values, selected, beta)
