"""Going on with a run under another length than it had."""

from typing import Any

import lightning.pytorch as pl

from lightning_modules.run_length import run_length
from lightning_modules.trained import TrainedRankingModule


class Extension(pl.Callback):
    """Continues the schedule of a run as that of its new length, and says what differs from a run that always had it.

    From where training goes on, rates are those of a run that had the new length from the start. The steps before had
    those of the old one, if the schedule depends on the length. A validation that was made because the run ended is
    one that a longer run does not have.
    """

    def __init__(self) -> None:
        self._lengths: list[tuple[int, int | None]] = []
        self._extra_validation: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the length with the checkpoint's."""
        step, now = trainer.global_step, run_length(trainer)
        if self._extra_validation == step:
            pl_module.print(
                f"the validation after step {step} was made because the run ended there: a run that was longer from "
                "the start does not have it"
            )
        if self._lengths and self._lengths[-1][1] == now:
            return
        scheduled = isinstance(pl_module, TrainedRankingModule) and trainer.lr_scheduler_configs
        if self._lengths and scheduled:
            before = self._rates_before(pl_module, step)
            rates = _continue_schedule(trainer, pl_module, step, now)
            differing = [index for index, rate in enumerate(before) if rate != rates[index]]
            if differing:
                pl_module.print(
                    f"this run has {_steps(now)} steps now and had {_steps(self._lengths[-1][1])}: from step "
                    f"{differing[0] + 1} to {differing[-1] + 1} its learning rates differ from those of a run that had "
                    f"{_steps(now)} from the start"
                )
        self._lengths.append((step, now))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note a validation that only the end of training causes."""
        if trainer.state.fn == "fit" and trainer.should_stop and not _is_scheduled(trainer):
            self._extra_validation = trainer.global_step

    def _rates_before(self, module: TrainedRankingModule, step: int) -> list[float]:
        """Return the rates of all steps so far, under the lengths that the run had then."""
        ends = [start for start, _ in self._lengths[1:]] + [step]
        rates: list[float] = []
        for (start, length), end in zip(self._lengths, ends, strict=True):
            rates += module.follow_schedule(length, end)[0][start:]
        return rates

    def state_dict(self) -> dict[str, Any]:
        """Return the lengths so far, each with the step from which on the run had it."""
        return {"lengths": [list(pair) for pair in self._lengths], "extra_validation": self._extra_validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self._lengths = [(start, length) for start, length in state_dict["lengths"]]
        self._extra_validation = state_dict["extra_validation"]


def _continue_schedule(
    trainer: pl.Trainer, module: TrainedRankingModule, step: int, length: int | None
) -> list[float]:
    """Put schedule and optimiser where those of a run of another length are after some steps; return its rates."""
    rates, optimizer, schedule = module.follow_schedule(length, step)
    trainer.lr_scheduler_configs[0].scheduler.load_state_dict(schedule.state_dict())
    for group, followed in zip(trainer.optimizers[0].param_groups, optimizer.param_groups, strict=True):
        group.update({name: value for name, value in followed.items() if name != "params"})
    return rates


def _is_scheduled(trainer: pl.Trainer) -> bool:
    """Whether a validation is due here in a run that goes on."""
    loop = trainer.fit_loop
    stopping, trainer.should_stop = trainer.should_stop, False
    try:
        return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    finally:
        trainer.should_stop = stopping


def _steps(length: int | None) -> str:
    return "an unknown number of" if length is None else str(length)
