"""A study of two steps a run, through the real command line."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from study import quickstart
from study.run import main

ROOT = Path(__file__).parents[2]
DMPO = {"class_path": "losses.DMPO", "init_args": {"beta": 1.0}}


def write_grid(folder: Path, tiny_folder: Path) -> Path:
    source = {"class_path": "datamodules.sources.RecBoleSource", "init_args": {"path": str(tiny_folder)}}
    data = {"source": source, "batch_size": 4, "max_val_examples": 8, "max_test_examples": 8}
    settings: dict[str, Any] = {
        "trainer": {"max_steps": 2, "val_check_interval": 1},
        "data": {"init_args": {**data, "cache_dir": str(folder / "cache")}},
        "wandb": {"mode": "disabled"},
    }
    counted = {name: settings[name] for name in ("data", "wandb")}
    configs = ROOT / "configs/quickstart"
    selective = {"objective": DMPO, "selection": "losses.RandomNegatives", "beta_rule": "losses.ConstantBeta"}
    grid = {
        "outputs": str(folder / "out"),
        "supervised": {
            "sft": {"configs": [str(configs / "sft.yaml")], "seeds": 2, "settings": settings},
            "absent": {"configs": ["x.yaml"], "seeds": 1, "requires": ["nowhere.json"]},
        },
        "rules": {"popularity": {"configs": [str(configs / "popularity.yaml")], "settings": counted}},
        "preference": [str(configs / "dmpo.yaml")],
        "settings": {**settings, "model": {"init_args": {"reference_cache": str(folder / "cache")}}},
        "rates": [1e-3, 1e-4],
        "objectives": {"random": {"class_path": "losses.SelectiveObjective", "init_args": selective}},
        "parts": {
            "first": {"objectives": ["random"], "num_negatives": [3], "seeds": 2},
            "fixed": {"objectives": ["random"], "num_negatives": [3], "seeds": 1, "rate": 1e-2},
        },
    }
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(grid))
    return path


def run(grid: Path) -> str:
    command = [sys.executable, "-m", "study.run", str(grid), "--jobs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "frist"], "error: --parts frist: the grid has first, fixed, absent, sft, rules"),
        (["--jobs", "0"], "argument --jobs: 0 is below 1"),
    ],
)
def test_arguments_that_name_nothing_are_refused(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    try:
        status = main([str(write_grid(tmp_path, tiny_folder)), *arguments])
    except SystemExit as ended:  # argparse
        status = int(ended.code or 0)
    assert status == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(message)
    assert not (tmp_path / "out").exists()


def test_a_config_that_is_not_there_is_named_before_anything_runs(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_grid(tmp_path, tiny_folder)
    path.write_text(path.read_text().replace("quickstart/dmpo.yaml", "quickstart/dpmo.yaml"))
    assert main([str(path)]) == 2
    missing = ROOT / "configs/quickstart/dpmo.yaml"
    assert capsys.readouterr().err == f"error: {missing} is no file: the grid names it as a config\n"
    assert not (tmp_path / "out").exists()


def test_the_quickstart_only_runs_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for argument, status in (("--help", 0), ("--halp", 2)):
        with pytest.raises(SystemExit) as ended:
            quickstart.main([argument])
        assert ended.value.code == status
    assert "make quickstart" in capsys.readouterr().out


@pytest.mark.slow
def test_a_study_runs_once_and_goes_on_where_it_stopped(tmp_path: Path, tiny_folder: Path) -> None:
    """Two SFT models, a rule, two rates with seed 0, the better with seed 1, a third rate; then a run is lost."""
    grid = write_grid(tmp_path, tiny_folder)
    first = run(grid)
    assert "absent is left out: nowhere.json is not there" in first
    runs = sorted(path.parent for path in (tmp_path / "out").glob("*/finished.json"))
    assert len(runs) == 7
    tested = {path.name for path in runs if (path / "predictions.parquet").is_file()}
    rejected = {path.name for path in runs} - tested
    assert len(tested) == 6
    assert rejected <= {"random-k3-lr1e-03-s0", "random-k3-lr1e-04-s0"}
    written = {path: (path / "finished.json").stat().st_mtime_ns for path in runs}
    lost = next(path for path in runs if path.name.endswith("-s1"))
    shutil.rmtree(lost)
    assert f"1/1 {lost.name}" in run(grid)
    for path in set(runs) - {lost}:
        assert (path / "finished.json").stat().st_mtime_ns == written[path]
