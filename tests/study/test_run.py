"""A study of two steps a run, through the real command line."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    quickstart = ROOT / "configs/quickstart"
    selective = {"objective": DMPO, "selection": "losses.RandomNegatives", "beta_rule": "losses.ConstantBeta"}
    grid = {
        "outputs": str(folder / "out"),
        "supervised": {
            "sft": {"configs": [str(quickstart / "sft.yaml")], "seeds": 2, "settings": settings},
            "absent": {"configs": ["x.yaml"], "seeds": 1, "requires": ["nowhere.json"]},
        },
        "rules": {"popularity": {"configs": [str(quickstart / "popularity.yaml")], "settings": counted}},
        "preference": [str(quickstart / "dmpo.yaml")],
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
