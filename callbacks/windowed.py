"""A callback that sums facts of every step and logs their means."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl

from callbacks.window import StepCounter, Window, log_now


class WindowedCallback(pl.Callback):
    """Adds every batch's facts to a window; at log steps logs the window's means and empties it."""

    def __init__(self) -> None:
        self._window = Window()
        self._steps = StepCounter()
        self._restored: Mapping[str, Any] | None = None

    def collect(self, window: Window, outputs: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Adds what a step returned to the window; nothing that is not there."""
        raise NotImplementedError

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the window of a checkpoint, now that the device is known."""
        self._steps.start(trainer)
        if self._restored is not None:
            self._window.load_state_dict(self._restored, pl_module.device)
            self._restored = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collects, and logs at log steps."""
        self.collect(self._window, outputs, trainer)
        if self._steps.logs_now(trainer):
            log_now(trainer, pl_module, {**self._window.reduce(trainer), **self.extra_metrics(trainer)})

    def extra_metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Metrics that are not means over steps."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The window so far."""
        return self._window.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the window of a checkpoint for `on_train_start`."""
        self._restored = state_dict
