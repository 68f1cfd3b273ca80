"""Schedules from a config: settings are bound by name, and the length of the run is filled in."""

import inspect
from argparse import SUPPRESS
from typing import Any, Protocol

from jsonargparse import add_instantiator
from lightning.pytorch.cli import LightningArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from datamodules.errors import InputError

# Parameters that take the number of steps of the run, and the one that takes the optimiser's rate.
_LENGTHS = ("total_steps", "T_max")
_PEAK = "max_lr"


class SchedulerFactory(Protocol):
    """Makes the schedule of an optimiser."""

    def __call__(self, optimizer: Optimizer, /, *, num_steps: int | None) -> LRScheduler:
        """Make the schedule.

        Args:
            optimizer: Whose rates it sets.
            num_steps: Optimiser steps of the whole run; None where nobody knows.
        """


class ScheduleParser(LightningArgumentParser):
    """Lets a config leave out those parameters of a schedule that `build_schedule` fills in."""

    def add_class_arguments(self, theclass: Any, *args: Any, **kwargs: Any) -> Any:
        """Add a class, see `jsonargparse`."""
        added = super().add_class_arguments(theclass, *args, **kwargs)
        if inspect.isclass(theclass) and issubclass(theclass, LRScheduler):
            for action in self._actions:
                if action.required and action.dest in (*_LENGTHS, _PEAK):
                    action.required, action.default = False, SUPPRESS
        return added


def build_schedule(
    schedule: type[LRScheduler], optimizer: Optimizer, *, num_steps: int | None, **settings: Any
) -> LRScheduler:
    """Make a schedule from the settings of a config.

    `total_steps` and `T_max` default to the length of the run, `max_lr` to the rate of each parameter group.

    Args:
        schedule: The class.
        optimizer: Whose rates it sets.
        num_steps: Optimiser steps of the whole run; None where nobody knows.
        settings: Its other arguments; what is None was not given.

    Raises:
        InputError: The class cannot be used, needs a number of steps that is not known, or refuses its settings.
    """
    if issubclass(schedule, ReduceLROnPlateau):
        raise InputError(
            "model.lr_scheduler ReduceLROnPlateau waits for a metric, and schedules are stepped after every optimiser "
            "step: take one that depends on the step alone, such as lightning_modules.CosineWarmup"
        )
    missing = [name for name in inspect.signature(schedule).parameters if settings.get(name) is None]
    if _PEAK in missing:
        settings[_PEAK] = [group["lr"] for group in optimizer.param_groups]
    # OneCycleLR takes the product of these two where it has no total_steps.
    if settings.get("epochs") is None or settings.get("steps_per_epoch") is None:
        for name in (name for name in _LENGTHS if name in missing):
            settings[name] = _known(num_steps, schedule, name)
    try:
        made = schedule(optimizer, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"model.lr_scheduler {schedule.__name__}: {error}") from error
    _require_long_enough(made, num_steps)
    return made


def _known(num_steps: int | None, schedule: type[LRScheduler], name: str) -> int:
    if num_steps is None:
        raise InputError(
            f"model.lr_scheduler {schedule.__name__} needs the number of steps, which trainer.max_time alone does not "
            f"tell: set trainer.max_steps or trainer.max_epochs, or {name} of the schedule"
        )
    return num_steps


def _require_long_enough(schedule: LRScheduler, num_steps: int | None) -> None:
    """Refuse what would raise in the middle of training: of torch's classes OneCycleLR alone does."""
    if isinstance(schedule, OneCycleLR) and (num_steps is None or schedule.total_steps < num_steps):
        steps = "an unknown number of" if num_steps is None else num_steps
        raise InputError(
            f"model.lr_scheduler OneCycleLR ends after {schedule.total_steps} steps and the run has {steps} steps: "
            "leave total_steps out and set trainer.max_steps or trainer.max_epochs"
        )


# What a parsed config calls to make a schedule.
add_instantiator(build_schedule, LRScheduler)  # type: ignore[arg-type]  # it is asked for schedules alone
