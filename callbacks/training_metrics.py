"""Loss, log-probabilities and rewards of training, as means over all examples since the last log line."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch

from callbacks.window import Window
from callbacks.windowed import WindowedCallback


class TrainingMetrics(WindowedCallback):
    """Logs train/loss, lr, logps/{positive,negative} and reward/{positive,negative,win_rate}.

    A supervised step has no negatives and no rewards, a baseline's no log-probabilities: what is absent is not logged.
    """

    def collect(self, window: Window, outputs: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Adds a batch."""
        # Lightning hands over the loss as it is accumulated, divided by the number of batches.
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        if "policy" not in outputs:
            # Training batches are all of one size, so that the mean over batches is the mean over examples.
            window.add("train/loss", loss)
            return
        policy = outputs["policy"]
        window.add("train/loss", loss.expand(len(policy)))
        window.add("logps/positive", policy[:, 0])
        if "rewards" not in outputs:
            return
        mask, rewards = outputs["mask"], outputs["rewards"]
        window.add("logps/negative", policy[:, 1:], mask)
        window.add("reward/positive", rewards[:, 0])
        window.add("reward/negative", rewards[:, 1:], mask)
        best_negative = torch.where(mask, rewards[:, 1:], -torch.inf).amax(dim=1)
        window.add("reward/win_rate", (rewards[:, 0] > best_negative).float())

    def extra_metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """The learning rate of the next step."""
        return {"lr": trainer.optimizers[0].param_groups[0]["lr"]}
