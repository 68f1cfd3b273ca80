"""What is read from a run's folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules import InputError
from study.runs import read_run, run_folders
from study.settings import setting_of
from tests.cli import config as tiny_config
from tests.cli import run as train
from tests.study.folders import baseline, configuration, objective, write_predictions, write_run


def test_a_folder_is_read(tmp_path: Path) -> None:
    notes = {"seconds": 61.5, "commit": "abc1234", "command": "python train.py fit"}
    folder = write_run(
        tmp_path / "a", configuration(objective("DMPO"), 15, seed=3), [1, 2, 7], finished=notes
    )
    run = read_run(folder, "study/a")
    assert (run.name, run.seed, run.seconds, run.commit, run.command) == (
        "study/a", 3, 61.5, "abc1234", "python train.py fit",
    )  # fmt: skip
    assert run.curves["train/loss"].steps.tolist() == [9, 19, 29, 39]
    assert run.curves["train/loss"].values.tolist() == [1.0, 0.5, 0.33333, 0.25]
    assert run.curves["boundary/stage_3/proportion"].values.tolist() == [0.25]
    assert (run.last("val/hit_ratio@1"), run.best("val/hit_ratio@1"), run.last("nothing")) == (0.4, 0.4, None)
    assert run.ranks is not None
    assert run.ranks.ids.tolist() == [100, 101, 102]
    assert run.ranks.users.tolist() == ["u0", "u1", "u2"]
    assert run.ranks.metrics["hit_ratio@5"].tolist() == [1, 1, 0]


def test_the_best_is_the_highest_and_the_last_the_last(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", configuration(objective()), None, hits=(0.5, 0.4))
    run = read_run(folder, "a")
    assert (run.best("val/hit_ratio@1"), run.last("val/hit_ratio@1")) == (0.5, 0.4)
    assert run.ranks is None


def test_a_step_logged_twice_counts_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", configuration(objective()), None)
    with (folder / "metrics.csv").open("a") as file:
        file.write("39,0.125,,,\n")
    assert read_run(folder, "a").curves["train/loss"].values.tolist() == [1.0, 0.5, 0.33333, 0.125]


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (objective("SDPO"), ("SDPO", "AllNegatives", "ConstantBeta", None, None, None)),
        (
            objective("DMPO", "DynamicPO", 6.0, 0.25),
            ("DMPO", "ThreeMeansBoundary", "DualMarginBeta", None, 6.0, 0.25),
        ),
        (
            objective("DMPO", "NearestNegatives"),
            ("DMPO", "NearestNegatives", "ConstantBeta", 3, None, None),
        ),
    ],
)
def test_settings_of_objectives(goal: dict[str, Any], expected: tuple[Any, ...]) -> None:
    setting = setting_of(configuration(goal, negatives=7, rate=3e-4))
    assert (setting.stage, setting.model, setting.negatives, setting.learning_rate, setting.beta) == (
        "preference", "SmallLlama", 7, 3e-4, 1.0,
    )  # fmt: skip
    named = (setting.objective, setting.selection, setting.beta_rule, setting.m, setting.gamma, setting.alpha)
    assert named == expected
    assert (setting.data, setting.candidates) == ("MovieLens100k", "Redrawn")


def test_settings_outside_the_preference_stage() -> None:
    rule, supervised = setting_of(baseline("Popularity")), setting_of(configuration(None, 0))
    assert (rule.stage, rule.model, rule.learning_rate) == ("baseline", "Popularity", None)
    assert (supervised.stage, supervised.objective, supervised.beta) == ("supervised", "", None)


def test_runs_of_one_cell_differ_in_the_seed_alone() -> None:
    """A seed has its own order and its own SFT model; another batch or candidate list is another experiment."""
    first = setting_of(configuration(objective(), seed=0))
    assert setting_of(configuration(objective(), seed=1)) == first
    other = setting_of(configuration(objective(), batch_size=64))
    assert other != first
    assert {**vars(other), "rest": ""} == {**vars(first), "rest": ""}
    redrawn = configuration(objective(), candidates={"class_path": "datamodules.candidates.AsGiven"})
    assert setting_of(redrawn).candidates == "AsGiven"


def test_what_is_not_finished_or_broken_is_refused(tmp_path: Path) -> None:
    settings = configuration(objective())
    settings["trainer"]["max_steps"] = 800
    folder = write_run(tmp_path / "early", settings, [1, 2])
    with pytest.raises(InputError, match="stopped at step 40 of 800: resume it"):
        read_run(folder, "early")
    (folder / "finished.json").write_text(json.dumps({"seconds": 3}))
    assert read_run(folder, "early").seconds == 3

    rule = write_run(tmp_path / "rule", baseline("Popularity"), None)
    with pytest.raises(InputError, match=r"has no predictions.parquet"):
        read_run(rule, "rule")
    write_predictions(rule / "predictions.parquet", [1, 2])
    assert read_run(rule, "rule").curves == {}


def test_a_number_that_is_text_is_refused(tmp_path: Path) -> None:
    settings = configuration(objective())
    settings["model"]["init_args"]["optimizer"]["init_args"]["lr"] = "x"
    folder = write_run(tmp_path / "a", settings, [1, 2])
    with pytest.raises(InputError, match="lr is 'x'"):
        read_run(folder, "a")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", "seed_everything: [", "config.yaml cannot be read"),
        ("config.yaml", "a: 1", "names no seed_everything"),
        ("config.yaml", "seed_everything: 0\nmodel: 3", "none that `train.py` wrote"),
        ("config.yaml", b"\xff\xfe\x00", "config.yaml cannot be read"),
        ("metrics.csv", "step,train/loss\n39,<script>\n", "metrics.csv is broken"),
        ("metrics.csv", "step,train/loss\n39,1,2,3\n", "metrics.csv is broken"),
        ("metrics.csv", "train/loss\n1\n", "metrics.csv is broken .a line has no step"),
        ("metrics.csv", None, "metrics.csv is missing"),
        ("finished.json", "{", "finished.json is broken"),
        ("finished.json", "[]", "no JSON object"),
        ("finished.json", '{"seconds": "3"}', "has seconds '3'"),
        ("predictions.parquet", "PAR1", "predictions.parquet"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, file: str, content: str | bytes | None, message: str) -> None:
    folder = write_run(tmp_path / "a", configuration(objective()), [1, 2], finished={"seconds": 1})
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=message):
        read_run(folder, "a")


def test_predictions_of_another_checkpoint_are_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", configuration(objective()), [1, 2])
    with (folder / "metrics.csv").open() as file:
        lines = file.read().splitlines()
    (folder / "metrics.csv").write_text("\n".join([lines[0] + ",test/mrr", *lines[1:], "0,,,,,0.8"]) + "\n")
    with pytest.raises(InputError, match=r"gives test/mrr 0.7500 and metrics.csv 0.8000"):
        read_run(folder, "a")


def test_examples_are_the_same_whatever_the_order_of_the_candidates(tmp_path: Path) -> None:
    first = read_run(write_run(tmp_path / "a", configuration(objective()), [1, 2]), "a").ranks
    second = read_run(write_run(tmp_path / "b", configuration(objective()), [3, 1]), "b").ranks
    longer = write_run(tmp_path / "c", configuration(objective()), None)
    write_predictions(longer / "predictions.parquet", [1, 2], candidates=8)
    third = read_run(longer, "c").ranks
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.examples == second.examples != third.examples


def test_folders_are_found_beneath_and_not_inside_runs(tmp_path: Path) -> None:
    for place in ("b/one", "a", "b/one/wandb/files", "b/one/deeper", "died/earlier/1"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.yaml").touch()
    (tmp_path / "metrics only").mkdir()
    (tmp_path / "metrics only/metrics.csv").touch()
    found = [str(folder.relative_to(tmp_path)) for folder in run_folders(tmp_path)]
    assert found == ["a", "b/one", "metrics only"]
    assert list(run_folders(tmp_path / "a")) == [tmp_path / "a"]


def test_a_run_of_the_command_line_is_read(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = tiny_config(tiny_folder)
    folder = train("fit", "dynamicpo", settings)
    train("test", "dynamicpo", settings, "--ckpt_path", "best")
    train("predict", "dynamicpo", settings, "--ckpt_path", "best")
    run = read_run(folder, "dynamicpo")
    assert run.setting.data == "RecBoleSource tiny"
    assert (run.setting.negatives, run.setting.learning_rate, run.setting.gamma) == (5, 0.01, 2.0)
    assert run.curves["train/loss"].steps.tolist() == [1, 3, 5, 7, 9, 11]
    assert run.curves["val/hit_ratio@1"].steps.tolist() == [5, 11]
    assert np.isfinite(run.curves["boundary/stage_3/proportion"].values).all()
    assert run.ranks is not None
    assert len(run.ranks.rank) == 21
