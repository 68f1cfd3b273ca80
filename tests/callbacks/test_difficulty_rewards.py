from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer

from callbacks import DifficultyRewards


def test_rewards_by_hand() -> None:
    """Prompt 1: negatives with s −3, −1, −2, −9 and rewards .3, .1, .2, .9, so .1, .2, .3, .9 by difficulty.

    Prompt 2: s −5, −4 with rewards .5, .7, so .7, .5; the other two are not there, and one of them has a high score.
    Rank 1: (.1 + .7) / 2, rank 2: (.2 + .5) / 2, rank 4: .9, of prompt 1 alone.
    """
    outputs = {
        "compared": torch.tensor([[-1, -3, -1, -2, -9], [-1, -5, -4, 0, 0.0]]),
        "rewards": torch.tensor([[1, 0.3, 0.1, 0.2, 0.9], [1, 0.5, 0.7, 0, 0]]),
        "mask": torch.tensor([[True] * 4, [True, True, False, False]]),
    }
    callback = DifficultyRewards()
    callback.collect(callback._window, outputs, SimpleNamespace())
    found = callback._window.reduce(Trainer(accelerator="cpu", logger=False, barebones=True))
    expected = {"reward/negative_rank_1": 0.4, "reward/negative_rank_2": 0.35, "reward/negative_rank_4": 0.9}
    assert found == pytest.approx(expected)
