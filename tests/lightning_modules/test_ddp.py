"""Two real processes (gloo) against one."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from callbacks.wandb_segments import logged_lines
from tests.cli import config, run, weights

WATCHING = ("PreferenceHistograms", "DifficultyRewards", "CollapseAlarm")
ROOT = Path(__file__).parents[2]


def attempt(
    folder: Path, settings: dict, subcommand: str, devices: int, *args: str
) -> subprocess.CompletedProcess[str]:
    """Runs `train.py` on some processes in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    strategy = "ddp" if devices > 1 else "auto"
    command = [sys.executable, str(ROOT / "train.py"), subcommand, "--config", "run.yaml"]
    command += ["--trainer.devices", str(devices), "--trainer.strategy", strategy, *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def launch(folder: Path, settings: dict, subcommand: str, devices: int, *args: str) -> None:
    """The same, and it must succeed."""
    result = attempt(folder, settings, subcommand, devices, *args)
    assert result.returncode == 0, result.stderr[-3000:]


def rows_of(folder: Path) -> list[dict[str, str]]:
    return rows_of_run(folder / "outputs/run")


def rows_of_run(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def media_of(folder: Path) -> tuple[list[list[int]], list[list[str]]]:
    """The counts of every histogram, and the titles in every table of the hardest examples."""
    run_folder = folder / "outputs/run"
    lines = logged_lines(run_folder, (run_folder / "wandb_run_id").read_text())
    counts = [line[name] for line in lines for name in sorted(line) if name.endswith("histogram.values")]
    tables = sorted(run_folder.glob("wandb/offline-run-*/files/media/table/hardest_examples_*.json"))
    rows = [row for path in tables for row in json.loads(path.read_text())["data"]]
    assert len(counts) == 12
    assert len(rows) == 2 * 5 * 3
    return counts, [[value for value in row if isinstance(value, str)] for row in rows]


@pytest.mark.parametrize("lora", [None, {"rank": 2}])
def test_two_ranks_are_one_process_with_twice_the_batch(tiny_folder: Path, tmp_path: Path, lora) -> None:
    """Same weights (1e-6 in float64) and the same global rates; every test example counted and written once."""
    settings = config(tiny_folder, lora=lora)
    settings["trainer"]["precision"] = "64-true"
    settings["data"]["init_args"]["max_val_examples"] = 17
    # Adam divides by the root of tiny squares and would blow rounding up.
    settings["model"]["init_args"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05}}
    settings["wandb"]["mode"] = "offline"
    settings["trainer"]["callbacks"] += [
        {"class_path": "callbacks.GradientSuppression", "init_args": {"every_n_steps": 6}},
        {"class_path": "callbacks.HardestExamples", "init_args": {"every_n_steps": 6, "num_examples": 5}},
        *({"class_path": f"callbacks.{name}"} for name in WATCHING),
    ]
    for devices, batch_size in ((1, 8), (2, 4)):
        settings["data"]["init_args"]["batch_size"] = batch_size
        launch(tmp_path / str(devices), settings, "fit", devices)
        launch(tmp_path / str(devices), settings, "predict", devices, "--ckpt_path", "last")

    one, two = (weights(tmp_path / f"{n}/outputs/run/checkpoints/last.ckpt") for n in (1, 2))
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=0, atol=1e-6)

    alone, together = rows_of(tmp_path / "1"), rows_of(tmp_path / "2")
    assert len(alone) == len(together)
    compared = 0
    for expected, found in zip(alone, together, strict=True):
        for name in expected.keys() - {
            "gradient/variance"
        }:  # of quarters of a rank's batch, not the same ones
            assert bool(expected[name]) == bool(found[name]), name
            if expected[name]:
                assert float(found[name]) == pytest.approx(float(expected[name]), abs=1e-5), name
                compared += name.startswith(("boundary/", "beta/", "gradient/", "reward/", "alarm/"))
    assert compared > 90
    assert media_of(tmp_path / "1") == media_of(tmp_path / "2")

    tables = [pq.read_table(tmp_path / f"{n}/outputs/run/predictions.parquet") for n in (1, 2)]
    assert tables[0]["id"].to_pylist() == tables[1]["id"].to_pylist()
    assert tables[0]["rank"].to_pylist() == tables[1]["rank"].to_pylist()
    assert tables[0].num_rows == 21


def rule(tiny_folder: Path) -> dict:
    """Popularity on 21 test examples, which two processes, or three, cannot share in equal batches of 4."""
    settings = config(tiny_folder)
    settings["model"] = {"class_path": "lightning_modules.baselines.Popularity"}
    settings["trainer"]["callbacks"] = []
    settings["data"]["init_args"]["eval_batch_size"] = 4
    return settings


@pytest.mark.parametrize("devices", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_evaluation_counts_every_example_once_on_any_number_of_ranks(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: int
) -> None:
    launch(tmp_path / "many", rule(tiny_folder), "test", devices)
    monkeypatch.chdir(tmp_path)
    expected = rows_of_run(run("test", "one", rule(tiny_folder)))[-1]
    found = rows_of(tmp_path / "many")[-1]
    assert found.keys() == expected.keys()
    for name in expected.keys() - {"step", "epoch"}:
        assert float(found[name]) == pytest.approx(float(expected[name]), abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subcommand", "message"),
    [
        ("test", "examples were evaluated and there are 21"),
        ("validate", "examples were evaluated and there are 16"),
        ("predict", "predictions of"),
    ],
)
def test_a_sampler_that_leaves_out_or_repeats_examples_is_refused(
    tiny_folder: Path, tmp_path: Path, subcommand: str, message: str
) -> None:
    """Lightning's own sampler shares a rank's share once more, and pads it."""
    sampler = "--trainer.use_distributed_sampler=true"
    result = attempt(tmp_path, rule(tiny_folder), subcommand, 2, sampler)
    assert result.returncode == 2
    (line,) = {line for line in result.stderr.splitlines() if line.startswith("error: ")}
    assert message in line
    assert "leave trainer.use_distributed_sampler false" in line
