"""W&B in trouble: training goes on and says so, and the curves have neither hole nor repeat."""

import csv
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from callbacks.wandb_run import HEADLINES
from callbacks.wandb_segments import STEP, logged_lines
from tests.faults.outcome import lost_steps
from tests.faults.wandb_server import serve
from tests.faults.workload import Mode, Workload, require


def _settings(load: Workload, mode: Mode, wandb: str, fault: dict[str, Any] | None = None) -> dict[str, Any]:
    settings = load.settings(mode, fault)
    settings["wandb"]["mode"] = wandb
    return settings


def _require_axis(folder: Path) -> None:
    """Everything in metrics.csv is in W&B's files, once, in order, and nothing else."""
    with (folder / "metrics.csv").open() as file:
        expected = [
            {name: float(value) for name, value in line.items() if value} for line in csv.DictReader(file)
        ]
    found = []
    for line in logged_lines(folder, (folder / "wandb_run_id").read_text()):
        metrics = {
            name: float(value)
            for name, value in line.items()
            if not name.startswith(("_", STEP, *HEADLINES.values()))
        }
        found.append({"step": float(line[STEP]), **metrics})
    if found != expected:
        raise AssertionError(
            f"W&B has steps {[line['step'] for line in found]}, metrics.csv {[line['step'] for line in expected]}"
        )


def training_killed(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """Twice killed and twice resumed under one run id."""
    folder, lost = load.folder / name, 0
    for start in range(2):
        fault = {
            "class_path": "tests.faults.points.AtPoint",
            "init_args": {"event": "step", "count": int(rng.integers(4, 7))},
        }
        settings = _settings(load, mode, "offline", fault)
        ended = load.go_on(name, mode, settings) if start else load.runner(mode).fit(name, settings)
        assert ended.statuses[0] == -signal.SIGKILL, ended.output[-2000:]
        lost += lost_steps(folder)
    require(load.go_on(name, mode, _settings(load, mode, "offline")), [0] * mode.processes)
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 3
    load.require_same(name, mode)
    _require_axis(folder)
    return lost


def no_key(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """Online is asked for, and nobody is logged in."""
    return _goes_offline(load, name, mode, WANDB_API_KEY="", NETRC="/dev/null", HOME=str(load.folder))


def no_network(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """Nothing listens where W&B should be."""
    away = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_INIT_TIMEOUT": "3", "WANDB_API_KEY": "f" * 40}
    return _goes_offline(load, name, mode, **away)


def _goes_offline(load: Workload, name: str, mode: Mode, **environment: str) -> int:
    ended = load.runner(mode, **environment).fit(name, _settings(load, mode, "online"))
    require(ended, [0] * mode.processes)
    if "the run is kept offline" not in ended.output:
        raise AssertionError(f"it was not said: {ended.output[-2000:]}")
    load.require_same(name, mode)
    _require_axis(load.folder / name)
    return 0


def no_folder(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """A file stands where the folder should: no user can write there, root included."""
    (load.folder / name).mkdir()
    (load.folder / name / "wandb").write_text("in the way")
    ended = load.runner(mode).fit(name, _settings(load, mode, "offline"))
    require(ended, [0] * mode.processes)
    if "metrics.csv alone goes on" not in ended.output:
        raise AssertionError(f"it was not said: {ended.output[-2000:]}")
    load.require_same(name, mode)
    return 0


def network_goes_away(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """The server dies in the middle of training, which ends no later for it than it is told to wait."""
    server, address = serve()
    fault = {
        "class_path": "tests.faults.points.ServerDies",
        "init_args": {"pid": server, "count": int(rng.integers(3, 9))},
    }
    online = {"WANDB_BASE_URL": address, "WANDB_API_KEY": "f" * 40, "WANDB_FINISH_TIMEOUT": "2"}
    ended = load.runner(mode, **online).fit(name, _settings(load, mode, "online", fault))
    require(ended, [0] * mode.processes)
    assert os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]) == -signal.SIGKILL
    if "Some run data will not be synced" not in ended.output:
        raise AssertionError(f"it was not said: {ended.output[-2000:]}")
    assert list((load.folder / name / "wandb").glob("run-*")), "it was offline from the start"
    load.require_same(name, mode)
    _require_axis(load.folder / name)
    return 0
