"""A few of the faults of `make faults`, and the launcher that users have."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from callbacks.termination import TERMINATED
from lightning_modules.checkpoint_files import read_whole
from tests.cli import config
from tests.forked import run_python

ROOT = Path(__file__).parents[2]


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return run_python(*command, cwd=folder)


def test_a_few_faults_are_survived(tmp_path: Path) -> None:
    """In a process of its own: it forks, and must not have trained before."""
    result = _run(tmp_path, "-m", "tests.faults", "--quick", "--output", "table")
    assert result.returncode == 0, result.stderr[-3000:]
    rows = json.loads((tmp_path / "table.json").read_text())
    assert [(row["tried"], row["survived"]) for row in rows] == [(1, 1)] * 3
    assert "| SIGKILL at a random moment | 1 | 1 |" in (tmp_path / "table.md").read_text()


@pytest.mark.slow
def test_sigterm_under_lightnings_own_launcher(tiny_folder: Path, tmp_path: Path) -> None:
    """The second process is a child of the first; both and their loaders' workers are asked after four steps."""
    settings = config(tiny_folder)
    settings["data"]["init_args"]["num_workers"] = 2
    fault = {
        "class_path": "tests.faults.points.AtPoint",
        "init_args": {"event": "step", "count": 4, "number": int(signal.SIGTERM)},
    }
    settings["trainer"]["callbacks"] = [
        {"class_path": "tests.faults.record.Recorder", "init_args": {"fault": fault}}
    ]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    train = str(ROOT / "train.py")
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    result = _run(tmp_path, train, "fit", "--config", "run.yaml", *two)
    assert result.returncode == TERMINATED == 143, result.stderr[-3000:]
    assert "asked to stop after step 4: go on with --ckpt_path last" in result.stdout
    assert read_whole(tmp_path / "outputs/run/checkpoints/last.ckpt")["global_step"] == 4
