"""Random scores for the tests of losses/."""

from collections.abc import Callable

import pytest
import torch

from losses import ResponseScores


def _random_scores(
    seed: int, batch: int = 5, negatives: int = 6, dtype: torch.dtype = torch.float64
) -> ResponseScores:
    """Ragged scores with everything that any part may need; each row has at least one negative."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    policy = -12 * uniform(batch, 1 + negatives)
    mask = uniform(batch, negatives) < 0.8
    mask[:, seed % negatives] = True
    return ResponseScores(
        policy=policy.to(dtype),
        reference=(policy + 4 * uniform(batch, 1 + negatives) - 2).to(dtype),
        mask=mask,
        lengths=torch.randint(1, 9, (batch, 1 + negatives), generator=generator),
        draws=uniform(batch, negatives),
    )


@pytest.fixture(scope="session")
def random_scores() -> Callable[..., ResponseScores]:
    return _random_scores
