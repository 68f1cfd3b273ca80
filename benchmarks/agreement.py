"""The check that what is compared computes the same thing; a speed-up of something else would be worth nothing."""

import torch

from benchmarks.measure import Measurement
from losses import DMPO, DynamicPO, ResponseScores

LOSS_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3  # relative, of the norm


class Disagreement(RuntimeError):
    """Raised where two ways do not compute the same loss or gradient."""


def require_agreement(name: str, ours: Measurement, other: Measurement) -> bool:
    """Compares losses, and gradients where both select the same negatives.

    Released k-means may miss the best clusters (one initialisation); our objective is then evaluated on the
    negatives that the other way selected. A way that does not select is compared with DMPO.

    Args:
        name: The other way, for the message.
        ours: Our live step.
        other: The same batch and weights, computed in another way.

    Returns:
        Whether both selected the same negatives.

    Raises:
        Disagreement: The losses differ by more than 1e-4, or the norms of the gradients by 0.1 %.
    """
    loss = _our_loss(ours, other.selected)
    if not abs(loss - other.loss) <= LOSS_TOLERANCE:
        raise Disagreement(
            f"{name} computes loss {other.loss:.6f}, ours is {loss:.6f}: they must agree to 1e-4"
        )
    same = ours.selected == other.selected
    gap = abs(ours.gradient_norm - other.gradient_norm)
    if same and not gap <= GRADIENT_TOLERANCE * ours.gradient_norm:
        raise Disagreement(
            f"{name} has gradient norm {other.gradient_norm:.6f}, ours {ours.gradient_norm:.6f}: "
            "they must agree to 0.1 %"
        )
    return same


def _our_loss(ours: Measurement, selected: list[list[bool]] | None) -> float:
    policy, rewards = torch.tensor(ours.policy), torch.tensor(ours.rewards)
    scores = ResponseScores(policy, policy - rewards)
    if selected is None:
        return DMPO(beta=1.0)(scores).loss.mean().item()
    return DynamicPO(DMPO(beta=1.0))(scores, selected=torch.tensor(selected)).loss.mean().item()
