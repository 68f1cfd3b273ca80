"""How far a run is: a bar on a terminal, a line now and then elsewhere; a validation adds a line, not a bar."""

import sys
import time
from contextlib import ExitStack
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar as LightningProgress
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm, TQDMProgressBar

from callbacks.above_bars import messages_above_bars
from callbacks.window import StepCounter
from datamodules.checks import require_at_least
from lightning_modules.run_length import run_length

_LOSS = "train/loss"


def progress() -> LightningProgress:
    """Return the bar on a terminal; in a file it would be one endless line, so that lines are written there."""
    return ProgressBar() if sys.stdout.isatty() else ProgressLines()


class ProgressBar(TQDMProgressBar):
    """Show one bar for the whole training, in optimiser steps, and one for a test or a prediction.

    The bar is refreshed at log steps, when the loss is read anyway. A resumed training starts where it stopped.
    Messages are written above the bar.
    """

    def __init__(self) -> None:
        super().__init__()
        self._steps = StepCounter()
        self._messages = ExitStack()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refresh as often as the trainer logs."""
        super().setup(trainer, pl_module, stage)
        self._refresh_rate = max(1, trainer.log_every_n_steps)
        self._messages.close()
        self._messages.enter_context(messages_above_bars())

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave messages to themselves again."""
        self._messages.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the error begins a line of its own."""
        for bar in (
            self._val_progress_bar,
            self._train_progress_bar,
            self._test_progress_bar,
            self._predict_progress_bar,
        ):
            if bar is not None:
                bar.close()
        self._messages.close()

    def init_train_tqdm(self) -> Tqdm:
        """Count steps from the one that training starts from to the last one."""
        return Tqdm(
            desc=f"Epoch {self.trainer.current_epoch}",
            total=run_length(self.trainer),
            initial=self.trainer.global_step,
            unit=" steps",
            disable=self.is_disabled,
            leave=True,
            dynamic_ncols=True,
            file=sys.stdout,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    def init_validation_tqdm(self) -> Tqdm:
        """Have no bar for a validation in training: its result is a line."""
        return Tqdm(disable=True) if self.trainer.state.fn == "fit" else super().init_validation_tqdm()

    def on_train_start(self, *_: Any) -> None:
        """Leave the screen to what the module does first: reference log-probabilities have a bar of their own."""
        self._steps.start(self.trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Name the next epoch."""
        if self._train_progress_bar is not None:
            self._train_progress_bar.set_description(f"Epoch {trainer.current_epoch}")

    def on_train_batch_start(self, *_: Any) -> None:
        """Begin the bar; in the middle of an epoch Lightning starts no epoch."""
        if self._train_progress_bar is None:
            self.train_progress_bar = self.init_train_tqdm()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on at log steps."""
        if self._steps.logs_now(trainer):
            self._show(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show where the epoch ended."""
        self._show(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say why the bar stands still."""
        super().on_validation_start(trainer, pl_module)
        if self._train_progress_bar is not None:
            self._train_progress_bar.set_description("Validation")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on."""
        if self._train_progress_bar is not None:
            self._train_progress_bar.set_description(f"Epoch {trainer.current_epoch}", refresh=False)
            self._show(trainer, pl_module)
        super().on_validation_end(trainer, pl_module)

    def on_train_end(self, *_: Any) -> None:
        """Leave the bar as it is."""
        if self._train_progress_bar is not None:
            self._train_progress_bar.close()

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Return the training loss as it was last logged."""
        loss = trainer.callback_metrics.get(_LOSS)
        return {} if loss is None else {_LOSS: f"{loss:.4f}"}

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        """Print above the bars; Lightning would drop what is said where no bar stands."""
        Tqdm.write(sep.join(map(str, args)), **kwargs)

    def _show(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        bar = self.train_progress_bar
        if not bar.disable:
            bar.set_postfix(self.get_metrics(trainer, pl_module), refresh=False)
            bar.n = trainer.global_step
            bar.refresh()


class ProgressLines(LightningProgress):
    """Print a line on training now and then, for an output that is no terminal.

    Args:
        seconds: At least so many between two lines.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        require_at_least(0, seconds=seconds)
        super().__init__()
        self.is_enabled = False  # there is no bar that a message could stand above
        self._seconds = seconds
        self._steps = StepCounter()
        self._start = (0, 0.0)
        self._said = 0.0

    def disable(self) -> None:
        """Do nothing: only the first process prints."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._steps.start(trainer)
        self._said = time.monotonic()
        self._start = (trainer.global_step, self._said)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print at the first log step after the pause."""
        now = time.monotonic()
        if self._steps.logs_now(trainer) and now - self._said >= self._seconds:
            self._said = now
            pl_module.print(self._line(trainer, now))

    def _line(self, trainer: pl.Trainer, now: float) -> str:
        step, last = trainer.global_step, run_length(trainer)
        start, began = self._start
        rate = (step - start) / max(now - began, 1e-9)
        parts = [f"step {step}" if last is None else f"step {step} of {last}", f"{rate:.3g} steps/s"]
        if last is not None:
            parts.append(f"{Tqdm.format_interval((last - step) / rate)} left")
        if (loss := trainer.callback_metrics.get(_LOSS)) is not None:
            parts.append(f"{_LOSS} {loss:.4f}")
        return ", ".join(parts)
