"""How fast training is, how much of a batch is padding, and where the time goes."""

import resource
import sys
import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.profilers import Profiler
from torch import Tensor, nn

from callbacks.window import StepCounter, log_now
from datamodules.packing import PADDING

_DATA, _STEP, _REFERENCE = ".train_dataloader_next", "run_training_batch", "reference"


class Stopwatch(Profiler):
    """Lightning's own profiling hooks, timed: waiting for a batch, and a training step.

    Args:
        inner: The profiler that the trainer has, which goes on as before.

    Attributes:
        seconds: Host time in each action since the last `reset`.
    """

    def __init__(self, inner: Profiler) -> None:
        super().__init__()
        self.inner = inner
        self.seconds: dict[str, float] = {}
        self._started: dict[str, float] = {}

    def reset(self) -> None:
        """Forgets what was measured."""
        self.seconds = dict.fromkeys((_DATA, _STEP, _REFERENCE), 0.0)

    def start(self, action_name: str) -> None:
        """Starts measuring an action."""
        self.inner.start(action_name)
        if action_name.endswith((_DATA, _STEP, _REFERENCE)):
            self._started[action_name] = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """Adds the time since its start."""
        if action_name in self._started:
            elapsed = time.perf_counter() - self._started.pop(action_name)
            self.seconds[next(name for name in self.seconds if action_name.endswith(name))] += elapsed
        self.inner.stop(action_name)


class Throughput(pl.Callback):
    """Logs speed and memory of training, since the last log line and over all ranks.

    - `throughput/tokens_per_second`: tokens that the policy reads, padding not counted; validations take no part.
    - `throughput/padding_share`: share of a batch's places that hold no token.
    - `throughput/peak_memory_mb`: most memory so far, of the GPU or else of the process; of the largest rank.
    - `throughput/{data,policy,reference}_seconds`: per batch, waiting for it, training on it, and scoring it under the
      reference where there is one. On a GPU, which works on after the host, only the first is logged:
      `--trainer.profiler pytorch` measures there.

    Tokens are counted on the device and nothing waits for it between log lines. Lightning's `ThroughputMonitor` waits
    after every batch.
    """

    def __init__(self) -> None:
        self._steps = StepCounter()
        self._watch: Stopwatch | None = None
        self._hooks: list[Any] = []
        self._tokens: Tensor | None = None
        self._places = 0
        self._batches = 0
        self._since = 0.0
        self._paused = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clocks."""
        self._watch = trainer.profiler = Stopwatch(trainer.profiler)
        reference = getattr(pl_module, "reference", None)
        if isinstance(reference, nn.Module):
            self._hooks = _timed(reference, self._watch)
        self._steps.start(trainer)
        self._restart(self._watch)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gives the trainer its profiler back."""
        if self._watch is not None:
            trainer.profiler = self._watch.inner
        for hook in self._hooks:
            hook.remove()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts, and logs at log steps."""
        segments = batch.packed.segment_ids
        tokens = (segments != PADDING).sum()
        self._tokens = tokens if self._tokens is None else self._tokens + tokens
        self._places += segments.numel()
        self._batches += 1
        if self._steps.logs_now(trainer) and self._watch is not None:
            log_now(trainer, pl_module, self._measured(trainer, self._watch))
            self._restart(self._watch)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock of the training tokens."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Goes on."""
        self._since += time.perf_counter() - self._paused

    def _restart(self, watch: Stopwatch) -> None:
        self._tokens, self._places, self._batches = None, 0, 0
        self._since = time.perf_counter()
        watch.reset()

    def _measured(self, trainer: pl.Trainer, watch: Stopwatch) -> dict[str, float]:
        device = trainer.strategy.root_device
        here = [self._tokens, self._places, self._batches, *watch.seconds.values()]
        sums = trainer.strategy.reduce(
            torch.tensor([float(value or 0) for value in here], dtype=torch.float64, device=device),
            reduce_op="sum",
        )
        tokens, places, batches, data, step, reference = sums.tolist()
        # The clock is read after the tokens, for which the host has waited.
        elapsed = torch.tensor([time.perf_counter() - self._since, _peak_mb(device)], device=device)
        seconds, peak = trainer.strategy.reduce(elapsed, reduce_op="max").tolist()
        metrics = {
            "tokens_per_second": tokens / seconds,
            "padding_share": 1 - tokens / places,
            "peak_memory_mb": peak,
            "data_seconds": data / batches,
        }
        if device.type != "cuda":
            metrics["policy_seconds"] = (step - reference) / batches
            if self._hooks:
                metrics["reference_seconds"] = reference / batches
        return {f"throughput/{name}": value for name, value in metrics.items()}


def _timed(reference: nn.Module, watch: Stopwatch) -> list[Any]:
    return [
        reference.register_forward_pre_hook(lambda *_: watch.start(_REFERENCE)),
        reference.register_forward_hook(lambda *_: watch.stop(_REFERENCE)),
    ]


def _peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kilobytes / 1024
