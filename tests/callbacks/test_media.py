"""What W&B shows of a preference run, from its own file; and that the other records are as if nothing were shown."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import wandb

from callbacks.wandb_segments import STEP
from tests.cli import config, end_wandb, run
from tests.wandb_files import inspect, records, segments

MEDIA = [
    {"class_path": "callbacks.PreferenceHistograms"},
    {"class_path": "callbacks.HardestExamples", "init_args": {"every_n_steps": 6, "num_examples": 2}},
]
ALARM = {"class_path": "callbacks.CollapseAlarm"}


class BlockTables(pl.Callback):
    """Puts a file where W&B makes the folder of tables."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            assert wandb.run is not None
            (Path(wandb.run.dir) / "media").write_text("")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def history(folder: Path) -> list[dict[str, Any]]:
    """Every line that W&B's own reader finds in the run's segments, earlier starts first."""
    return [record["item"] for segment in segments(folder) for record in records(segment, "history")]


def settings_of(tiny_folder: Path) -> dict[str, Any]:
    settings = config(tiny_folder)
    settings["trainer"]["callbacks"] += [*MEDIA, ALARM, {"class_path": "callbacks.DifficultyRewards"}]
    settings["wandb"]["mode"] = "offline"
    return settings


def test_the_runs_own_file_has_histograms_table_chart_and_summaries(tiny_folder: Path) -> None:
    settings = settings_of(tiny_folder)
    folder = run("fit", "shown", settings)
    end_wandb()
    lines = history(folder)
    assert [line[STEP] for line in lines] == [1, 3, 5, 7, 9, 11], "media share the lines of their steps"
    for line in lines:
        counts = line["beta/histogram.values"]
        assert sum(counts) == sum(line["margin/histogram.values"]) > 0
        edges = line["beta/histogram.bins"]
        assert all(edges[index + 1] >= 0.5 and edges[index] <= 1.5 for index in range(49) if counts[index])
    with_table = [line[STEP] for line in lines if "hardest_examples._type" in line]
    with_chart = [line[STEP] for line in lines if "collapse_table._type" in line]
    assert with_table == with_chart == [5, 11]

    shown = (line.split() for line in inspect("--summary", str(folder / "wandb")).splitlines())
    summary = {words[0]: words[1] for words in shown if len(words) == 2}
    for name in ("val/hit_ratio@1.max", "val/mrr.max", "train/loss.min", "reward/negative_rank_1"):
        float(summary[name])
    assert float(summary["train/loss.min"]) == pytest.approx(
        min(line["train/loss"] for line in lines), rel=1e-4
    )
    assert "histogram" not in (folder / "metrics.csv").read_text()


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    """The newest table of that name."""
    *_, path = sorted(
        folder.glob(f"wandb/offline-run-*/files/media/table/{name}_*.json"),
        key=lambda path: path.stat().st_mtime_ns,
    )
    content = json.loads(path.read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def test_the_hardest_examples_have_titles_and_are_in_order(tiny_folder: Path) -> None:
    folder = run("fit", "hard", settings_of(tiny_folder))
    end_wandb()
    rows = table(folder, "hardest_examples")
    assert len(rows) == 6
    hardest = [rows[0]["margin"], rows[3]["margin"]]
    assert hardest == sorted(hardest)
    for row in rows:
        assert row["margin"] == pytest.approx(row["s_positive"] - row["s_negative"])
        assert 1 <= row["history"].count(" → ") <= 2
        assert row["positive"] != row["negative"]
        assert row["selected"] == (row["beta"] > 0)
    for first in (0, 3):
        scores = [row["s_negative"] for row in rows[first : first + 3]]
        assert scores == sorted(scores, reverse=True)
        assert len({row["positive"] for row in rows[first : first + 3]}) == 1
    points = table(folder, "collapse_table")
    assert {point["lineKey"] for point in points} == {"train/loss, first = 1", "val/hit_ratio@1"}
    assert len(points) == 4


def test_without_wandb_they_change_nothing(tiny_folder: Path) -> None:
    settings = settings_of(tiny_folder)
    settings["wandb"]["mode"] = "disabled"
    watched = run("fit", "watched", settings)
    settings["trainer"]["callbacks"] = [c for c in settings["trainer"]["callbacks"] if c not in MEDIA]
    plain = run("fit", "plain", settings)
    assert (watched / "metrics.csv").read_text() == (plain / "metrics.csv").read_text()


def test_a_resumed_run_shows_what_a_whole_one_does(tiny_folder: Path) -> None:
    """Checkpoint of step 3, in the middle of a window; the crash comes before step 4, the end of it, is logged."""
    settings = settings_of(tiny_folder)
    settings["trainer"]["max_steps"] = 8
    whole = run("fit", "whole", settings)
    end_wandb()
    crash = {"class_path": "tests.cli.Crash", "init_args": {"after_step": 4}}
    settings["trainer"]["callbacks"].insert(0, crash)
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "broken", settings)
    end_wandb()
    settings["trainer"]["callbacks"].pop(0)
    broken = run("fit", "broken", settings, "--ckpt_path", "last")
    end_wandb()
    assert (broken / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    expected, found = history(whole), history(broken)
    assert [line[STEP] for line in found] == [line[STEP] for line in expected] == [1, 2, 3, 5, 7]
    for name in ("beta/histogram.values", "margin/histogram.values"):
        assert [line.get(name) for line in found] == [line.get(name) for line in expected]
    assert table(broken, "hardest_examples") == table(whole, "hardest_examples")
    assert table(broken, "collapse_table") == table(whole, "collapse_table")


def test_a_table_that_cannot_be_written_costs_the_table_alone(tiny_folder: Path) -> None:
    """A file stands where W&B makes the folder of tables."""
    settings = settings_of(tiny_folder)
    settings["trainer"]["callbacks"].append({"class_path": "tests.callbacks.test_media.BlockTables"})
    with pytest.warns(UserWarning, match="W&B cannot write .*hardest_examples"):
        folder = run("fit", "blocked", settings)
    end_wandb()
    lines = history(folder)
    assert [line[STEP] for line in lines] == [1, 3, 5, 7, 9, 11]
    assert all("train/loss" in line for line in lines)
    assert not any("hardest_examples._type" in line for line in lines)
