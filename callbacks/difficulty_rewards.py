"""What happens to hard and to easy negatives, apart."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch

from callbacks.window import Window
from callbacks.windowed import WindowedCallback


class DifficultyRewards(WindowedCallback):
    """Logs the mean reward of the r-th hardest negative, `reward/negative_rank_r`, for r = 1, 2, 4, 8, ….

    A negative's difficulty is its log-probability under the current policy; rank 1 is the likeliest one of its prompt.
    A prompt with fewer than r negatives does not count. Since the last log line and over all ranks, beside
    `reward/positive`, which `TrainingMetrics` logs: where the loss falls only because the reward of the easy negatives
    does, training spends itself on what is solved.
    """

    def collect(self, window: Window, outputs: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Adds a preference step; a supervised one has no negatives."""
        if "rewards" not in outputs:
            return
        mask = outputs["mask"]
        difficulty = torch.where(mask, outputs["compared"][:, 1:], -torch.inf)
        order = difficulty.argsort(dim=1, descending=True, stable=True)
        rewards, there = outputs["rewards"][:, 1:].gather(1, order), mask.gather(1, order)
        rank = 1
        while rank <= rewards.shape[1]:
            window.add(f"reward/negative_rank_{rank}", rewards[:, rank - 1], there[:, rank - 1])
            rank *= 2
