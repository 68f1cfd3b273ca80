"""The collapse picture: the training loss and held-out HR@1 on one chart."""

from collections.abc import Sequence
from typing import Any

import wandb

# Step, training loss since the validation before, held-out hit_ratio@1.
Point = tuple[int, float, float]


def collapse_chart(points: Sequence[Point]) -> Any:
    """Draws both over the steps, the loss as a multiple of its first value, so that one axis serves both."""
    steps, losses, hits = zip(*points, strict=True)
    return wandb.plot.line_series(
        xs=list(steps),
        ys=[[loss / (losses[0] or 1.0) for loss in losses], list(hits)],
        keys=["train/loss, first = 1", "val/hit_ratio@1"],
        title="Collapse: the loss falls, held-out HR@1 too",
        xname="step",
    )
