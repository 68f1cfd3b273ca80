"""What other commands do to the folder of a run: nothing that it could not go on from."""

import signal
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.outcome import lost_steps
from tests.faults.workload import Mode, Workload, require
from tests.run_files import files_of

# What this suite itself writes there: the config of the last command, what it printed, the examples that were seen.
_OF_THE_SUITE = ("run.yaml", "output-", "samples-")


def _files(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files_of(folder).items() if not name.startswith(_OF_THE_SUITE)}


def _without_recorder(load: Workload, mode: Mode) -> dict[str, Any]:
    settings = load.settings(mode)
    settings["trainer"]["callbacks"].pop()
    return settings


def _interrupted(
    load: Workload, name: str, mode: Mode, rng: np.random.Generator
) -> tuple[dict[str, bytes], int]:
    """A run that was killed on its way: its files, and the steps that a resume does again."""
    fault = {
        "class_path": "tests.faults.points.AtPoint",
        "init_args": {"event": "backward", "count": int(rng.integers(5, 11))},
    }
    ended = load.runner(mode).fit(name, load.settings(mode, fault))
    assert ended.statuses[0] == -signal.SIGKILL, ended.output[-2000:]
    # The lock that it left belongs to nobody.
    (load.folder / name / ".lock").unlink()
    return _files(load.folder / name), lost_steps(load.folder / name)


def _require_unchanged(load: Workload, name: str, before: dict[str, bytes]) -> None:
    now = _files(load.folder / name)
    if changed := sorted(file for file in before.keys() | now.keys() if before.get(file) != now.get(file)):
        raise AssertionError(f"changed: {', '.join(changed)}")


def fast_dev_run(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """Twice in the folder of a run that was killed, which then goes on."""
    before, lost = _interrupted(load, name, mode, rng)
    for _ in range(2):
        settings = _without_recorder(load, mode)
        ended = load.runner(mode).fit(name, settings, "--trainer.fast_dev_run", "2")
        require(ended, [0] * mode.processes)
        _require_unchanged(load, name, before)
    require(load.go_on(name, mode), [0] * mode.processes)
    load.require_same(name, mode)
    return lost


def failed_start(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """The last process refuses to start, anew and resumed, as late as it can."""
    before, lost = _interrupted(load, name, mode, rng)
    settings = _without_recorder(load, mode)
    refusal = {"class_path": "tests.cli.RefuseToStart", "init_args": {"rank": mode.processes - 1}}
    settings["trainer"]["callbacks"].append(refusal)
    for args in ((), ("--ckpt_path", "last"), ("--ckpt_path", "best")):
        ended = load.runner(mode).fit(name, settings, *args, alone=False)
        if ended.statuses[-1] != 2 or 0 in ended.statuses:
            raise AssertionError(f"ended with {ended.statuses}: {ended.output[-2000:]}")
        _require_unchanged(load, name, before)
    require(load.go_on(name, mode), [0] * mode.processes)
    load.require_same(name, mode)
    return lost


def fit_three_times(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """Every earlier run is kept whole, though the second one is killed once while it moves the first one aside."""
    folder = load.folder / name
    settings = _without_recorder(load, mode)
    require(load.runner(mode).fit(name, settings), [0] * mode.processes)
    first = _files(folder)
    fault = {"class_path": "tests.faults.points.InMove", "init_args": {"count": int(rng.integers(1, 5))}}
    ended = load.runner(mode).fit(name, load.settings(mode, fault))
    assert ended.statuses[0] == -signal.SIGKILL, ended.output[-2000:]
    require(load.runner(mode).fit(name, settings, "--trainer.max_steps", "6"), [0] * mode.processes)
    second = {file: content for file, content in _files(folder).items() if not file.startswith("earlier/")}
    require(load.runner(mode).fit(name, settings, "--trainer.max_steps", "3"), [0] * mode.processes)
    for number, expected in enumerate((first, second), start=1):
        if files_of(folder / f"earlier/{number}") != expected:
            raise AssertionError(f"earlier/{number} is not the run that it was")
    return 0


def two_at_once(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """The second one is refused and named the first one's process; the first one does not notice."""
    folder = load.folder / name
    fault = {
        "class_path": "tests.faults.points.AnotherFit",
        "init_args": {"count": int(rng.integers(1, 9)), "folder": str(folder)},
    }
    require(load.runner(mode).fit(name, load.settings(mode, fault)), [0] * mode.processes)
    status, _, said = (folder / "second.txt").read_text().partition("\n")
    if status != "2" or f"is writing into {folder}" not in said or "error: process " not in said:
        raise AssertionError(f"the second fit ended with {status}: {said[-2000:]}")
    load.require_same(name, mode)
    return 0
