"""Two real processes (gloo) against one."""

import csv
import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from callbacks.wandb_segments import logged_lines
from tests.cli import config, run, weights
from tests.forked import run_python
from tests.many_runs import Run, many_runs

WATCHING = ("PreferenceHistograms", "DifficultyRewards", "CollapseAlarm")
ROOT = Path(__file__).parents[2]


def attempt(
    folder: Path, settings: dict, subcommand: str, devices: int, *args: str
) -> subprocess.CompletedProcess[str]:
    """Runs `train.py` on some processes in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    strategy = "ddp" if devices > 1 else "auto"
    command = [str(ROOT / "train.py"), subcommand, "--config", "run.yaml"]
    command += ["--trainer.devices", str(devices), "--trainer.strategy", strategy, *args]
    return run_python(*command, cwd=folder)


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
    lines = logged_lines(folder, (folder / "wandb_run_id").read_text())
    counts = [line[name] for line in lines for name in sorted(line) if name.endswith("histogram.values")]
    tables = sorted(folder.glob("wandb/offline-run-*/files/media/table/hardest_examples_*.json"))
    rows = [row for path in tables for row in json.loads(path.read_text())["data"]]
    assert len(counts) == 12
    assert len(rows) == 2 * 5 * 3
    return counts, [[value for value in row if isinstance(value, str)] for row in rows]


def test_two_ranks_are_one_process_with_twice_the_batch(tiny_folder: Path, tmp_path: Path) -> None:
    """Same weights (1e-6 in float64) and the same global rates; every test example counted and written once."""
    settings = config(tiny_folder)
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
    settings["data"]["init_args"]["cache_dir"] = str(tmp_path / "cache")
    last, halves = ("--ckpt_path", "last"), ("--data.batch_size", "4")
    settings["data"]["init_args"]["batch_size"] = 8
    many_runs(
        tmp_path,
        Run("1", settings, processes=1),
        Run("1", settings, last, processes=1, subcommand="predict"),
        Run("2", settings, halves),
        Run("2", settings, (*halves, *last), subcommand="predict"),
    )
    one, two = (weights(tmp_path / f"{n}/checkpoints/last.ckpt") for n in (1, 2))
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=0, atol=1e-6)

    alone, together = rows_of_run(tmp_path / "1"), rows_of_run(tmp_path / "2")
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

    tables = [pq.read_table(tmp_path / f"{n}/predictions.parquet") for n in (1, 2)]
    assert tables[0]["id"].to_pylist() == tables[1]["id"].to_pylist()
    assert tables[0]["rank"].to_pylist() == tables[1]["rank"].to_pylist()
    assert tables[0].num_rows == 21


def rule(tiny_folder: Path) -> dict:
    """Popularity on 31 test examples: of two or three processes one has a batch of 5 more than the others."""
    settings = config(tiny_folder)
    settings["model"] = {"class_path": "lightning_modules.baselines.Popularity"}
    settings["trainer"]["callbacks"] = []
    settings["data"]["init_args"].update(eval_batch_size=5, max_test_examples=31)
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
        ("test", "examples were evaluated and there are 31"),
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


@pytest.mark.slow
def test_more_processes_than_examples_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    """A process without a batch would leave the loop, and the others would wait for it."""
    settings = rule(tiny_folder)
    settings["data"]["init_args"]["max_test_examples"] = 2
    result = attempt(tmp_path, settings, "test", 3)
    assert result.returncode == 2
    assert "2 test examples cannot be shared by 3 processes" in result.stderr


@pytest.mark.slow
def test_all_processes_stop_where_the_loss_of_one_is_no_number(tiny_folder: Path, tmp_path: Path) -> None:
    """Its gradient reaches the others' weights, and their losses only in the step after."""
    settings = config(tiny_folder)
    settings["trainer"]["callbacks"].append(
        {"class_path": "tests.cli.BreakLoss", "init_args": {"after_step": 1, "rank": 1}}
    )
    result = attempt(tmp_path, settings, "fit", 2)
    assert result.returncode == 2, result.stderr[-3000:]
    assert "the loss became NaN or infinite at or before step 2" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_two_processes_go_on_where_one_stopped(tiny_folder: Path, tmp_path: Path) -> None:
    """2 × 4 × 2 accumulated instead of 1 × 16: the same weights and metrics, from a checkpoint of step 3."""
    settings = config(tiny_folder)
    settings["trainer"].update(precision="64-true", val_check_interval=0.1, check_val_every_n_epoch=1)
    settings["model"]["init_args"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05}}
    settings["data"]["init_args"].update(batch_size=16, global_batch_size=16)
    launch(tmp_path / "whole", settings, "fit", 1)
    crash = {"class_path": "tests.cli.Crash", "init_args": {"after_step": 4}}
    callbacks = settings["trainer"]["callbacks"]
    settings["trainer"]["callbacks"] = [*callbacks, crash]
    assert attempt(tmp_path / "broken", settings, "fit", 1).returncode == 1
    settings["trainer"]["callbacks"] = callbacks
    settings["data"]["init_args"]["batch_size"] = 4
    launch(tmp_path / "broken", settings, "fit", 2, "--ckpt_path", "last")
    whole, broken = (
        weights(tmp_path / f"{name}/outputs/run/checkpoints/last.ckpt") for name in ("whole", "broken")
    )
    for key, value in whole.items():
        torch.testing.assert_close(broken[key], value, rtol=0, atol=1e-6)
    alone, together = rows_of(tmp_path / "whole"), rows_of(tmp_path / "broken")
    for expected, found in zip(alone, together, strict=True):
        for name in expected:
            assert bool(expected[name]) == bool(found[name]), name
            if expected[name]:
                assert float(found[name]) == pytest.approx(float(expected[name]), abs=1e-5), name
