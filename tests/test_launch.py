"""The launch files, with programs of their own names in place of torchrun and SLURM."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from callbacks.termination import TERMINATED

LAUNCH = Path(__file__).parents[1] / "configs/launch"
SCRIPTS = sorted(path.name for path in LAUNCH.iterdir())


def fake(folder: Path, name: str, status: int = 0) -> None:
    """A program that writes down its arguments, one a line, and leaves with a status."""
    program = folder / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/{name}.called\nexit {status}\n')
    program.chmod(0o755)


def called(folder: Path, name: str) -> list[str] | None:
    path = folder / f"{name}.called"
    return path.read_text().splitlines() if path.is_file() else None


def start(script: str, folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a launch file with the programs in `folder/bin` before all others."""
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(LAUNCH / script), *args],
        cwd=folder,
        env={"PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


SLURM = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NUM_NODES": "4", "SLURM_NTASKS_PER_NODE": "2"}


@pytest.mark.parametrize("status", [0, 1, 2, 137, TERMINATED])
def test_slurm_queues_the_job_again_when_the_run_was_asked_to_stop_and_only_then(
    tmp_path: Path, status: int
) -> None:
    fake(tmp_path / "bin", "srun", status)
    fake(tmp_path / "bin", "scontrol")
    result = start("slurm.sbatch", tmp_path, "runs/a b", "--config", "x y.yaml", **SLURM)
    assert result.returncode == status, result.stderr
    expected = ["requeue", "4711"] if status == TERMINATED else None
    assert called(tmp_path / "bin", "scontrol") == expected
    assert called(tmp_path / "bin", "srun") == [
        *("--kill-on-bad-exit=1", "python", "train.py", "fit", "--config", "x y.yaml"),
        *("--trainer.default_root_dir", "runs/a b", "--trainer.num_nodes", "4", "--trainer.devices", "2"),
    ]


MACHINE = {"HEAD": "10.0.0.1", "NODES": "2", "NODE": "1", "DEVICES": "3"}


def test_torchrun_is_told_the_machines(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "python", 7)
    result = start("torchrun.sh", tmp_path, "runs/a b", "--config", "x y.yaml", PORT="1234", **MACHINE)
    assert result.returncode == 7, result.stderr
    assert called(tmp_path / "bin", "python") == [
        *("-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", "1", "--nproc-per-node", "3"),
        *("--master-addr", "10.0.0.1", "--master-port", "1234", "train.py", "fit", "--config", "x y.yaml"),
        *("--trainer.default_root_dir", "runs/a b", "--trainer.num_nodes", "2", "--trainer.devices", "3"),
    ]


@pytest.mark.parametrize("checkpoint", ["last", "previous"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_run_that_has_a_checkpoint_goes_on(tmp_path: Path, script: str, checkpoint: str) -> None:
    """`previous.ckpt` alone is what a kill between two renames leaves."""
    for name in ("python", "srun"):
        fake(tmp_path / "bin", name)
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    (tmp_path / f"run/checkpoints/{checkpoint}.ckpt").touch()
    result = start(script, tmp_path, "run", **SLURM, **MACHINE)
    assert result.returncode == 0, result.stderr
    arguments = called(tmp_path / "bin", "srun") or called(tmp_path / "bin", "python")
    assert arguments is not None
    assert arguments[-2:] == ["--ckpt_path", "last"]


@pytest.mark.parametrize("missing", [*MACHINE, "folder"])
def test_what_torchrun_must_be_told_is_asked_for(tmp_path: Path, missing: str) -> None:
    fake(tmp_path / "bin", "python")
    machine = {name: value for name, value in MACHINE.items() if name != missing}
    result = start("torchrun.sh", tmp_path, *([] if missing == "folder" else ["run"]), **machine)
    assert result.returncode != 0
    assert ("1: is the folder" if missing == "folder" else f"{missing}: ") in result.stderr
    assert called(tmp_path / "bin", "python") is None


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_launch_file_is_sound(script: str) -> None:
    path = str(LAUNCH / script)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    found = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
