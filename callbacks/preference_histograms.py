"""How β and the margins are spread, where BoundaryProportion logs their means."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import wandb
from numpy.typing import NDArray

from callbacks.histogram import Histogram
from callbacks.media import log_media, wandb_runs
from callbacks.window import StepCounter

# An odd number, so that the base β is the middle of a bin, where rounding does not move it to the next.
_BETA_BINS = 49
# Nats, in bins of one. An easy negative is a few tens below the positive, a violation above it.
_LOWEST_MARGIN, _HIGHEST_MARGIN, _MARGIN_BINS = -16.0, 32.0, 48


class PreferenceHistograms(pl.Callback):
    """Sends histograms of the selected negatives' β and margins s_w − s_i to W&B.

    Since the last log line and over all ranks: `beta/histogram`, from 0 to twice the base β, and `margin/histogram`,
    from -16 to 32 nats; the outermost bins take what lies beyond. Left of 0 the negative is above the positive. Other
    loggers get nothing.
    """

    def __init__(self) -> None:
        self._steps = StepCounter()
        self._histograms: dict[str, Histogram] = {}
        self._restored: Mapping[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Places the bins, and restores the counts of a checkpoint."""
        self._steps.start(trainer)
        objective = getattr(pl_module, "objective", None)
        if objective is None or not wandb_runs(trainer):
            return
        self._histograms = {
            "beta/histogram": Histogram(0.0, 2 * (objective.beta or 1.0), _BETA_BINS),
            "margin/histogram": Histogram(_LOWEST_MARGIN, _HIGHEST_MARGIN, _MARGIN_BINS),
        }
        for name, counts in self._restored.items():
            self._histograms[name].load_state_dict(counts, pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts, and sends at log steps."""
        if not self._histograms:
            return
        scores, selected = outputs["compared"], outputs["selected"]
        self._histograms["beta/histogram"].add(outputs["beta"], selected)
        self._histograms["margin/histogram"].add(scores[:, :1] - scores[:, 1:], selected)
        if self._steps.logs_now(trainer):
            log_media(
                trainer, {name: _drawn(h.reduce(trainer), h.edges) for name, h in self._histograms.items()}
            )

    def state_dict(self) -> dict[str, Any]:
        """The counts so far."""
        return {name: histogram.state_dict() for name, histogram in self._histograms.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps them for `on_train_start`."""
        self._restored = state_dict


def _drawn(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> wandb.Histogram:
    return wandb.Histogram(np_histogram=(counts.tolist(), edges.tolist()))
