"""The real command line: fit, resume, test, predict, and what it says when it cannot."""

import csv
import json
import subprocess
import sys
from contextlib import chdir
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from datamodules.sampler import EvaluationSampler
from tests.cli import config, run, supervised, weights
from tests.wandb_files import inspect


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def fails(capsys: pytest.CaptureFixture[str], *args, **kwargs) -> str:
    """Runs, expects exit status 2 and exactly one line on stderr that begins with `error:`; returns the line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run(*args, **kwargs)
    assert caught.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_both_stages_then_test_then_predict(tiny_folder: Path) -> None:
    """What the README walks through; each command reads only what the one before it wrote."""
    sft = run("fit", "sft", supervised(tiny_folder))
    settings = config(tiny_folder, init_from=str(sft / "checkpoints/best.ckpt"))
    settings["wandb"]["mode"] = "offline"
    folder = run("fit", "dynamicpo", settings)
    _leet_shows_what_was_logged(folder)
    run("test", "dynamicpo", settings, "--ckpt_path", "best")
    run("predict", "dynamicpo", settings, "--ckpt_path", "best")

    assert {path.name for path in folder.iterdir()} == {
        "checkpoints", "config.yaml", "metrics.csv", "predictions.parquet", "wandb", "wandb_run_id"
    }  # fmt: skip
    checkpoints = {path.name for path in (folder / "checkpoints").iterdir()}
    assert checkpoints == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    rows = rows_of(folder)
    trained = [row for row in rows if row["train/loss"]]
    assert [int(row["step"]) for row in trained] == [1, 3, 5, 7, 9, 11]
    assert [int(row["step"]) for row in rows if row["val/mrr"]] == [5, 11]
    for row in trained:
        assert abs(float(row["boundary/proportion"]) + float(row["boundary/easy_proportion"]) - 1) < 1e-9
        assert 0.5 <= float(row["beta/min"]) <= float(row["beta/mean"]) <= float(row["beta/max"]) <= 1.5
    assert [row["step"] for row in rows if row["boundary/stage_1/proportion"]] == ["3"]
    assert [row["step"] for row in rows if row["boundary/stage_3/proportion"]] == ["11"]

    table = pq.read_table(folder / "predictions.parquet").to_pydict()
    (tested,) = [row for row in rows if row["test/mrr"]]
    assert len(table["id"]) == 21
    assert abs(sum(1 / rank for rank in table["rank"]) / 21 - float(tested["test/mrr"])) < 1e-6
    for target, rank, candidates, scores in zip(
        *(table[n] for n in ("target", "rank", "candidates", "scores")), strict=True
    ):
        assert candidates[rank - 1] == target
        assert sorted(scores, reverse=True) == scores


def _leet_shows_what_was_logged(folder: Path) -> None:
    shown = inspect("--summary", str(folder / "wandb"))
    for name in (
        "boundary/proportion",
        "boundary/violation_rate",
        "beta/mean",
        "train/loss",
        "val/hit_ratio@1",
    ):
        assert name in shown, shown


@pytest.fixture(
    scope="module",
    params=[
        (supervised, {}),
        (config, {}),
        (config, {"lora": {"rank": 2, "dropout": 0.3}}),
        (supervised, {"lora": {"rank": 2, "dropout": 0.3}}),
    ],
)
def uninterrupted(
    request: pytest.FixtureRequest, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """Settings and the folder of their run."""
    make, changes = request.param
    settings = make(tiny_folder)
    settings["model"]["init_args"].update(changes)
    settings["data"]["init_args"]["batch_size"] = 80  # an epoch is 6 steps
    with chdir(tmp_path_factory.mktemp("uninterrupted")):
        return settings, run("fit", "whole", settings).absolute()


@pytest.mark.parametrize("crash_after", [4, 8])
def test_a_resumed_run_is_bit_identical(uninterrupted, crash_after: int) -> None:
    """Crashes lie between checkpoints (3, 6, 9, …) and on both sides of a validation; dropout draws random numbers."""
    settings, whole = uninterrupted
    crashing = deepcopy(settings)
    crashing["trainer"]["callbacks"].append(
        {"class_path": "tests.cli.Crash", "init_args": {"after_step": crash_after}}
    )
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "broken", crashing)
    resumed = run("fit", "broken", settings, "--ckpt_path", "last")

    expected, found = (weights(folder / "checkpoints/last.ckpt") for folder in (whole, resumed))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert (resumed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_a_checkpoint_holds_no_frozen_weight_and_loads_without_pickle(tiny_folder: Path) -> None:
    folder = run("fit", "lora", config(tiny_folder, lora={"rank": 2}))
    state = weights(folder / "checkpoints/last.ckpt")
    assert state
    assert all(".lora_" in key and ".policy." in key for key in state)
    full = weights(run("fit", "full", config(tiny_folder)) / "checkpoints/last.ckpt")
    assert not any(key.startswith("reference") for key in full)


def test_test_reproduces_the_validation_of_the_saved_weights(tiny_folder: Path) -> None:
    settings = config(tiny_folder)
    folder = run("fit", "v", settings)
    before = [row for row in rows_of(folder) if row["val/mrr"]]
    run("validate", "v", settings, "--ckpt_path", "last")
    assert rows_of(folder)[-1]["val/mrr"] == before[-1]["val/mrr"]


def test_part_of_the_data_may_be_evaluated_when_asked_for(tiny_folder: Path) -> None:
    """One batch of 5; and the sanity check before training, of which there are 2."""
    settings = config(tiny_folder)
    settings["data"]["init_args"]["eval_batch_size"] = 5
    settings["trainer"]["num_sanity_val_steps"] = 2
    folder = run("fit", "part", settings)
    for subcommand in ("validate", "test", "predict"):
        limit = f"--trainer.limit_{subcommand.replace('validate', 'val')}_batches=1"
        run(subcommand, "part", settings, "--ckpt_path", "last", limit)
    assert pq.read_table(folder / "predictions.parquet").num_rows == 5


def test_what_only_training_calls_back_is_not_missed_elsewhere(tiny_folder: Path, recwarn) -> None:
    """An exporter, say, which was added on the command line of `fit` alone."""
    settings = config(tiny_folder)
    run("fit", "callbacks", settings)
    settings["trainer"]["callbacks"] = []
    for subcommand in ("validate", "test", "predict"):
        run(subcommand, "callbacks", settings, "--ckpt_path", "best")
    assert not [warning for warning in recwarn if "callbacks used to create" in str(warning.message)]


def test_an_example_that_is_not_evaluated_is_noticed(tiny_folder: Path, capsys, monkeypatch) -> None:
    settings = config(tiny_folder)
    folder = run("fit", "gap", settings)
    monkeypatch.setattr(EvaluationSampler, "__iter__", lambda self: ((0, row) for row in self._rows[1:]))
    for subcommand, message in (
        ("validate", "15 examples were evaluated and there are 16"),
        ("test", "20 examples were evaluated and there are 21"),
        ("predict", "20 predictions of 20 examples, and there are 21"),
    ):
        assert message in fails(capsys, subcommand, "gap", settings, "--ckpt_path", "last")
    assert not (folder / "predictions.parquet").exists()


@pytest.mark.parametrize("baseline", ["Popularity", "CoOccurrence", "LastItem"])
def test_rules_that_count_are_tested_on_the_same_examples(tiny_folder: Path, baseline: str) -> None:
    settings = config(tiny_folder)
    settings["model"] = {"class_path": f"lightning_modules.baselines.{baseline}"}
    settings["trainer"]["callbacks"] = []
    folder = run("test", "rule", settings)
    run("predict", "rule", settings)
    table = pq.read_table(folder / "predictions.parquet")
    assert table.num_rows == 21
    hits = sum(rank == 1 for rank in table["rank"].to_pylist()) / 21
    assert abs(float(rows_of(folder)[-1]["test/hit_ratio@1"]) - hits) < 1e-6


def test_resuming_where_nothing_is_says_so(tiny_folder: Path, capsys) -> None:
    line = fails(capsys, "fit", "none", config(tiny_folder), "--ckpt_path", "last")
    assert "--ckpt_path last: there is no outputs/tiny/none/checkpoints/last.ckpt" in line
    assert not Path("outputs").exists()


def test_resuming_under_other_settings_lists_every_difference(tiny_folder: Path, capsys) -> None:
    run("fit", "a", config(tiny_folder))
    changed = config(tiny_folder)
    changed["model"]["init_args"]["objective"]["init_args"]["gamma"] = 6.0
    changed["data"]["init_args"]["num_negatives"] = 3
    changed["data"]["init_args"]["num_workers"] = 2
    line = fails(capsys, "fit", "a", changed, "--ckpt_path", "last")
    assert "model.init_args.objective.init_args.gamma was 2.0 and is 6.0" in line
    assert "data.init_args.num_negatives was 5 and is 3" in line
    assert "num_workers" not in line


def test_a_checkpoint_of_another_model_is_refused(tiny_folder: Path, capsys) -> None:
    folder = run("fit", "small", config(tiny_folder))
    larger = config(tiny_folder)
    larger["model"]["init_args"]["language_model"]["init_args"]["hidden_size"] = 64
    checkpoint = str(folder / "checkpoints/last.ckpt")
    line = fails(capsys, "test", "large", larger, "--ckpt_path", checkpoint)
    assert "hidden_size is 32 there and 64 here" in line
    larger["model"]["init_args"]["init_from"] = checkpoint
    assert "hidden_size is 32 there and 64 here" in fails(capsys, "fit", "large", larger)


def test_another_reference_is_refused(tiny_folder: Path, capsys) -> None:
    sft = run("fit", "sft", supervised(tiny_folder)) / "checkpoints/best.ckpt"
    settings = config(tiny_folder, init_from=str(sft))
    run("fit", "p", settings)
    longer = supervised(tiny_folder)
    longer["model"]["init_args"]["optimizer"]["init_args"]["lr"] = 0.02
    run("fit", "sft", longer)
    line = fails(capsys, "fit", "p", settings, "--ckpt_path", "last")
    assert "was trained against reference" in line


def test_stage_2_finds_stage_1_by_the_name_of_its_config_under_any_outputs(tiny_folder: Path, capsys) -> None:
    settings = config(tiny_folder, init_from="sft")
    elsewhere = ["--outputs", "scratch/7b"]
    run("fit", "sft", supervised(tiny_folder), *elsewhere)
    run("fit", "dpo", settings, *elsewhere)
    run("fit", "dpo", settings, *elsewhere, "--ckpt_path", "last")
    assert not Path("outputs").exists()
    record = yaml.safe_load(Path("scratch/7b/tiny/dpo/config.yaml").read_text())
    assert record["model"]["init_args"]["init_from"] == "scratch/7b/tiny/sft/checkpoints/best.ckpt"
    line = fails(capsys, "fit", "dpo", settings)
    assert "there is no checkpoint at outputs/tiny/sft/checkpoints/best.ckpt" in line


def test_a_missing_or_broken_stage_1_is_one_line(tiny_folder: Path, capsys) -> None:
    settings = config(tiny_folder, init_from="nowhere.ckpt")
    assert "there is no checkpoint at nowhere.ckpt" in fails(capsys, "fit", "x", settings)
    Path("nowhere.ckpt").write_bytes(b"PK\x03\x04 torn")
    assert "nowhere.ckpt is no readable checkpoint" in fails(capsys, "fit", "x", settings)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tiny_folder: Path, capsys) -> None:
    settings = config(tiny_folder)
    settings["trainer"]["callbacks"] = [{"class_path": "tests.cli.BreakLoss", "init_args": {"after_step": 4}}]
    line = fails(capsys, "fit", "nan", settings)
    assert "the loss became NaN or infinite at or before step 6" in line
    assert "the checkpoints on disk are from before it; go on from the last one with --ckpt_path last" in line
    checkpoint = torch.load("outputs/tiny/nan/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_a_loss_that_is_no_number_before_any_checkpoint_cannot_be_gone_on_from(
    tiny_folder: Path, capsys
) -> None:
    settings = config(tiny_folder)
    settings["trainer"]["callbacks"] = [{"class_path": "tests.cli.BreakLoss", "init_args": {"after_step": 1}}]
    line = fails(capsys, "fit", "nan", settings)
    assert line.endswith("NaN or infinite at or before step 2: start over with a lower learning rate")


def test_settings_that_cannot_be_are_one_line_and_write_nothing(tiny_folder: Path, capsys) -> None:
    for path, value, message in [
        (("data", "init_args", "num_negatives"), 8, "num_negatives=8 must lie in 0..7"),
        (("data", "init_args", "num_candidates"), 1, "num_candidates=1 must be at least 2"),
        (("data", "init_args", "templates"), ["{histroy}{candidates}"], "did you mean {history}?"),
        (("model", "init_args", "objective", "init_args", "alpha"), 1.5, "alpha"),
    ]:
        settings = config(tiny_folder)
        node = settings
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        assert message in fails(capsys, "fit", "bad", settings)
        assert not Path("outputs").exists()


def test_train_py_runs_from_another_folder(tiny_folder: Path, tmp_path: Path) -> None:
    """The installed packages are importable anywhere, and `--help all` needs no data."""
    train = Path(__file__).parents[2] / "train.py"
    code = f"""
import runpy, sys, losses, datamodules, lightning_modules.cli, callbacks, study
print(losses.__name__)
sys.argv = [{str(train)!r}, "fit", "--help", "all"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("losses\n")
    assert "--wandb.mode" in result.stdout
    assert json.dumps(None) not in result.stderr
