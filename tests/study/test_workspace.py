"""The layout names metrics that exist; making a workspace of it needs a package that the tests do not have."""

import csv
import sys
from pathlib import Path

import pytest

from study.workspace import LAYOUT, main
from tests.cli import config, run

CALLBACKS = ["BoundaryProportion", "GradientSuppression", "DifficultyRewards", "CollapseAlarm"]
MEDIA = {"beta/histogram", "margin/histogram", "hardest_examples"}


def test_every_metric_of_the_layout_is_one_that_a_run_logs(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    settings["trainer"].update(max_steps=6, val_check_interval=3)
    settings["trainer"]["callbacks"] = [{"class_path": f"callbacks.{name}"} for name in CALLBACKS]
    settings["model"]["init_args"]["objective"] = {"class_path": "losses.DMPO"}
    with (run("fit", "all", settings) / "metrics.csv").open() as file:
        logged = set(csv.DictReader(file).fieldnames or [])
    shown = {metric for section in LAYOUT for chart in section.charts for metric in chart.metrics}
    assert shown - logged == {"reward/negative_rank_8", "reward/negative_rank_16"}, "there are five negatives"
    assert {name for section in LAYOUT for name in section.media} == MEDIA


def test_what_cannot_be_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["dynamicpo"]) == 2
    assert "'dynamicpo' is no ENTITY/PROJECT" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["me/dynamicpo"]) == 2
    assert "pip install wandb-workspaces" in capsys.readouterr().err
