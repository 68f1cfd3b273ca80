"""A run ends and goes on under a larger length: it must be the run that had been longer from the start."""

from typing import Any

import numpy as np

from tests.faults.outcome import differences
from tests.faults.workload import MAX_STEPS, Mode, Workload, require

_EPOCHS = 2  # of the run that is longer from the start


def extended(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """It ended after a random step, or after its first epoch."""
    return _extended(load, name, mode, rng)


def extended_with_a_cache(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """The same; the rows that the longer run needs are not in the cache yet, and all of them are afterwards."""
    return _extended(load, name, mode, rng, reference_cache=str(load.folder / name / "cache"))


def _extended(load: Workload, name: str, mode: Mode, rng: np.random.Generator, **model: Any) -> int:
    settings = load.settings(mode)
    settings["model"]["init_args"].update(lr_scheduler=None, **model)
    # Thirds of training are other steps in a shorter run.
    settings["trainer"]["callbacks"][0] = {"class_path": "callbacks.DifficultyRewards"}
    by_epochs = bool(rng.integers(2))
    key, short, long = (
        ("max_epochs", 1, _EPOCHS) if by_epochs else ("max_steps", int(rng.integers(1, MAX_STEPS)), MAX_STEPS)
    )
    del settings["trainer"]["max_steps"]
    none = [0] * mode.processes
    settings["trainer"][key] = short
    require(load.runner(mode).fit(name, settings), none)
    settings["trainer"][key] = long
    require(load.go_on(name, mode, settings), none)
    require(load.runner(mode).fit(name + "-long", settings), none)
    if found := differences(load.folder / name, load.folder / (name + "-long"), mode.processes):
        raise AssertionError(f"from {key} {short} to {long}: differs in {', '.join(found)}")
    return 0
