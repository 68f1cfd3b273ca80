"""The whole of METHOD.md once more, in NumPy float64 and plain loops, against random ragged batches."""

from collections.abc import Callable
from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from losses import DMPO, DPO, MPPO, SDPO, DynamicPO, Objective, ResponseScores

Vector = NDArray[np.float64]
Formula = Callable[[float, Vector, Vector], float]


def softplus(z: float) -> float:
    return float(np.logaddexp(0.0, z))


def dmpo(positive: float, negatives: Vector, beta: Vector) -> float:
    return softplus(-float(np.mean(beta * (positive - negatives))))


def sdpo(positive: float, negatives: Vector, beta: Vector) -> float:
    return float(np.log1p(np.sum(np.exp(beta * (negatives - positive)))))


def mppo(positive: float, negatives: Vector, beta: Vector) -> float:
    return softplus(-float(np.sum(beta * (np.exp(positive) - np.exp(negatives)))))


def boundary(positive: float, negatives: Vector) -> NDArray[np.bool_]:
    """Violations, or else the top cluster of the best split; not written for ties between splits."""
    violations = negatives >= positive
    if violations.any():
        return violations
    ranked = np.sort(negatives)[::-1]

    def cost(cuts: tuple[int, int]) -> float:
        parts = np.split(ranked, cuts)
        return sum(float(np.sum((part - part.mean()) ** 2)) for part in parts if len(part))

    first, _ = min(combinations_with_replacement(range(1, len(ranked) + 1), 2), key=cost)
    return negatives >= ranked[first - 1]


def dual_margin(
    positive: float, negatives: Vector, chosen: NDArray[np.bool_], beta: float, gamma: float, alpha: float
) -> Vector:
    easy = negatives[~chosen] if (~chosen).any() else negatives[chosen]
    up = positive - negatives
    down = negatives - easy.mean()
    with np.errstate(divide="ignore"):  # both margins 0: ∓∞, the limit that is wanted
        ratio = (up - down - gamma) / (np.abs(up) + np.abs(down))
    return np.asarray(beta * (1 + alpha * np.tanh(ratio)))


OBJECTIVES: dict[str, tuple[type[Objective], Formula]] = {
    "dmpo": (DMPO, dmpo),
    "sdpo": (SDPO, sdpo),
    "mppo": (MPPO, mppo),
}
FORMS = [("dmpo", False), ("sdpo", False), ("mppo", False), ("mppo", True)]


def batch(rng: np.random.Generator) -> ResponseScores:
    """B in 1..4, K in 1..8, ragged; half of the rows without violations, some with one equal to s_w."""
    rows, size = int(rng.integers(1, 5)), int(rng.integers(1, 9))
    policy = -rng.exponential(rng.choice([1.0, 5.0]), size=(rows, 1 + size))
    easy = rng.random(rows) < 0.5
    policy[easy, 0] = policy[easy].max(axis=1) + rng.random()
    again = rng.random((rows, size)) < 0.05
    policy[:, 1:] = np.where(again & ~easy[:, None], policy[:, :1], policy[:, 1:])
    mask = rng.random((rows, size)) < 0.7
    mask[np.arange(rows), rng.integers(size, size=rows)] = True
    return ResponseScores(
        torch.from_numpy(policy),
        torch.from_numpy(policy + rng.normal(size=policy.shape)),
        torch.from_numpy(mask),
        torch.from_numpy(rng.integers(1, 10, size=policy.shape)),
    )


@pytest.mark.parametrize(("name", "means"), FORMS)
def test_a_thousand_ragged_batches_each(name: str, means: bool) -> None:
    """Loss, selection, β and rewards of the plain objective and of DynamicPO on it, row by row."""
    kind, formula = OBJECTIVES[name]
    rng = np.random.default_rng([*map(ord, name), means])
    for _ in range(1000):
        scores = batch(rng)
        beta, gamma, alpha = (
            1.0 if means else float(rng.uniform(0, 2)),
            float(rng.normal(0, 3)),
            float(rng.uniform(0, 0.99)),
        )
        plain_objective = MPPO(length_normalized=True) if means else kind(beta)
        plain = plain_objective(scores)
        dynamic = DynamicPO(plain_objective, gamma, alpha)(scores)
        for i, there in enumerate(scores.mask.numpy()):
            s = scores.policy[i].numpy()
            s = s / scores.lengths[i].numpy() if means else s
            values = s if name == "mppo" else s - scores.reference[i].numpy()
            negatives, compared = s[1:][there], values[1:][there]
            expected = formula(values[0], compared, np.full(len(compared), beta))
            np.testing.assert_allclose(plain.loss[i], expected, rtol=1e-10, atol=1e-12)
            rewards = beta * values * np.concatenate(([True], there))
            np.testing.assert_allclose(plain.rewards[i], rewards, rtol=1e-12)
            assert np.array_equal(plain.selected[i], there)

            chosen = boundary(s[0], negatives)
            assert np.array_equal(dynamic.selected[i].numpy()[there], chosen)
            betas = dual_margin(s[0], negatives, chosen, beta, gamma, alpha)
            np.testing.assert_allclose(dynamic.beta[i].numpy()[there], np.where(chosen, betas, 0), rtol=1e-8)
            expected = formula(values[0], compared[chosen], betas[chosen])
            np.testing.assert_allclose(dynamic.loss[i], expected, rtol=1e-8, atol=1e-12)


def test_a_thousand_dpo_pairs() -> None:
    rng = np.random.default_rng(0)
    policy, reference = -rng.exponential(5, size=(2, 1000, 2))
    ratios = policy - reference
    expected = [softplus(-0.3 * (pair[0] - pair[1])) for pair in ratios]
    loss = DPO(0.3)(ResponseScores(torch.from_numpy(policy), torch.from_numpy(reference))).loss
    np.testing.assert_allclose(loss, expected, rtol=1e-10)
