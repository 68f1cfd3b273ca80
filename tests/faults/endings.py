"""People who end a run at the keyboard: Ctrl-C, once and twice, and a terminal that is closed."""

import signal

import numpy as np

from tests.faults.faults import fault_at, saved_when_asked
from tests.faults.outcome import lost_steps
from tests.faults.workload import EVERY_N_STEPS, Mode, Workload, require

INTERRUPTED, HUNG_UP = 128 + signal.SIGINT, 128 + signal.SIGHUP


def interrupted(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """Ctrl-C at a random moment reaches the whole process group, the loader's workers included if they were in it."""
    count = int(rng.integers(1, int(0.8 * load.calls(mode))))
    fault = fault_at("AtCall", count=count, number=int(signal.SIGINT))
    return saved_when_asked(load, name, mode, fault, rank=0, status=INTERRUPTED)


def interrupted_twice(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """The second Ctrl-C ends the process where it is; another process says in one line that it is gone."""
    event = str(rng.choice(["train batch", "backward", "validation batch"]))
    number = int(signal.SIGINT)
    fault = fault_at("AtPoint", event=event, count=int(rng.integers(1, 4)), number=number, times=2)
    ended = load.runner(mode).fit(name, load.settings(mode, fault))
    require(ended, [INTERRUPTED] + [1] * (mode.processes - 1))
    for rank in range(mode.processes):
        said = (load.folder / name / f"output-{rank}.txt").read_text()
        if "Traceback" in said or (rank and "another process of this run ended" not in said):
            raise AssertionError(f"rank {rank} said {said[-2000:]}")
    lost = lost_steps(load.folder / name)
    require(load.go_on(name, mode), [0] * mode.processes)
    load.require_same(name, mode)
    if not 0 <= lost <= EVERY_N_STEPS:
        raise AssertionError(f"lost {lost} steps")
    return lost


def terminal_closed(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """The terminal is gone before the signal is: a progress bar that writes to it must not end the run."""
    count = int(rng.integers(1, int(0.8 * load.calls(mode))))
    fault = fault_at("AtCall", count=count, number=int(signal.SIGHUP))
    settings = load.settings(mode, fault)
    settings["trainer"]["enable_progress_bar"] = True
    ended = load.runner(mode).fit(name, settings, terminal=True)
    require(ended, [HUNG_UP] + [0] * (mode.processes - 1))
    lost = lost_steps(load.folder / name)
    require(load.go_on(name, mode), [0] * mode.processes)
    load.require_same(name, mode)
    if lost != 0:
        raise AssertionError(f"lost {lost} steps")
    return lost
