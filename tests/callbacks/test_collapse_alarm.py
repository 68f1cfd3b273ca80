"""The alarm over the real command line, on data whose taste changes and on data whose taste does not."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from callbacks import CollapseAlarm
from tests.cli import config, end_wandb, run, supervised, weights
from tests.conftest import tiny_titles, write_atomic
from tests.wandb_files import records, segments

RULE = {"z": 3.0, "margin": 0.01, "patience": 2, "stop": True}
CALLBACK: dict[str, Any] = {"class_path": "callbacks.CollapseAlarm", "init_args": RULE}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def films_of(folder: Path, taste_changes: bool) -> Path:
    """Users watch the first half of the films; if taste changes, the other half from the time of validation on."""
    rng = np.random.default_rng(0)
    titles = tiny_titles()
    half = len(titles) // 2
    rows = []
    for time in range(3000):
        late = taste_changes and time >= 2400
        film = rng.integers(half) + half * late
        rows.append((f"u{rng.integers(150)}", f"i{film}", float(time)))
    return write_atomic(folder, "films", rows, titles)


def settings_of(folder: Path, *callbacks: dict[str, Any]) -> dict[str, Any]:
    """12 steps, validated at every second on all 300 examples."""
    settings = supervised(folder)
    settings["trainer"].update(val_check_interval=2, callbacks=list(callbacks))
    settings["model"]["init_args"]["history_weight"] = 0.0
    settings["model"]["init_args"]["optimizer"]["init_args"]["lr"] = 2.0e-3
    settings["data"]["init_args"].update(batch_size=32, max_val_examples=None, max_test_examples=20)
    return settings


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row.get("val/mrr")]


def test_a_run_that_collapses_is_stopped_with_its_best_checkpoint_kept(tmp_path: Path) -> None:
    settings = settings_of(films_of(tmp_path / "films", taste_changes=True), CALLBACK)
    settings["wandb"]["mode"] = "offline"
    with pytest.warns(UserWarning, match="held-out hit_ratio@1, by .* Training ends here"):
        folder = run("fit", "collapse", settings)
    end_wandb()
    rows = rows_of(folder)
    best, last = max(rows, key=lambda row: float(row["val/mrr"])), rows[-1]
    assert 2 < int(last["step"]) + 1 < 12, "neither at once nor at the end"
    assert best is not last
    hit = float(last["val/hit_ratio@1"]) - float(best["val/hit_ratio@1"])
    assert float(last["alarm/hit_ratio@1_change"]) == pytest.approx(hit, abs=1e-6)
    assert float(last["alarm/mrr_change"]) == pytest.approx(
        float(last["val/mrr"]) - float(best["val/mrr"]), abs=1e-6
    )
    loss = float(last["train/loss"]) - float(best["train/loss"])  # a log line is a validation's steps here
    assert float(last["alarm/train_loss_change"]) == pytest.approx(loss, abs=1e-5)
    checkpoint = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    assert checkpoint["global_step"] < int(last["step"]) + 1
    run("test", "collapse", settings, "--ckpt_path", "best")
    (alert,) = records(segments(folder)[0], "alert")
    assert alert["title"] == "Held-out ranking collapses"


def test_a_healthy_run_ends_as_it_would_without(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    films = films_of(tmp_path / "films", taste_changes=False)
    plain = run("fit", "plain", settings_of(films))
    watched = run("fit", "watched", settings_of(films, CALLBACK))
    assert len(rows_of(watched)) == 6
    assert float(rows_of(watched)[-1]["val/mrr"]) > float(rows_of(watched)[0]["val/mrr"])
    assert not [warning for warning in recwarn if "held-out" in str(warning.message)]
    expected, found = (weights(folder / "checkpoints/last.ckpt") for folder in (plain, watched))
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    for before, after in zip(rows_of(plain), rows_of(watched), strict=True):
        assert before == {name: after[name] for name in before}, "no number of the run is another"


def crashed_and_resumed(settings: dict[str, Any], after_step: int) -> tuple[Path, Path]:
    """The run's folder without a crash, and with one that a resume follows."""
    settings["last_checkpoint"]["every_n_train_steps"] = 3
    whole = run("fit", "whole", settings)
    crash = {"class_path": "tests.cli.Crash", "init_args": {"after_step": after_step}}
    settings["trainer"]["callbacks"].append(crash)
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "broken", settings)
    settings["trainer"]["callbacks"].pop()
    resumed = run("fit", "broken", settings, "--ckpt_path", "last")
    assert (resumed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    return whole, resumed


def saved(folder: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    return checkpoint


def test_a_resumed_run_sounds_at_the_same_step(tmp_path: Path) -> None:
    """Resumed from step 9, where the best validation and the first of two falls lie behind it."""
    settings = settings_of(films_of(tmp_path / "films", taste_changes=True), CALLBACK)
    for folder in crashed_and_resumed(settings, after_step=10):
        checkpoint = saved(folder)
        assert checkpoint["global_step"] == 10
        state = checkpoint["callbacks"]["CollapseAlarm"]
        assert (state["sounded"], state["falls"], state["best_step"]) == (True, 2, 2)


def test_a_resumed_run_remembers_half_a_loss_and_the_norms(tiny_folder: Path) -> None:
    """Norms are measured at step 0 alone; the checkpoint of step 3 lies between two validations."""
    norms = {"class_path": "callbacks.GradientSuppression", "init_args": {"every_n_steps": 100}}
    settings = config(tiny_folder)
    settings["trainer"].update(max_steps=6, val_check_interval=2, callbacks=[CALLBACK, norms])
    settings["model"]["init_args"]["objective"] = {"class_path": "losses.DMPO"}
    whole, resumed = (saved(folder) for folder in crashed_and_resumed(settings, after_step=4))
    assert 0 < whole["easy_gradient_share"] < 1
    assert resumed["easy_gradient_share"] == whole["easy_gradient_share"]


def test_stage_2_is_compared_with_stage_1(tiny_folder: Path) -> None:
    """Its first validation, after a step at a rate that ruins the model, is already behind the fall."""
    first = supervised(tiny_folder)
    first["trainer"]["callbacks"] = [CALLBACK]
    best = run("fit", "sft", first) / "checkpoints/best.ckpt"
    settings = config(tiny_folder, init_from=str(best))
    settings["trainer"].update(callbacks=[CALLBACK], max_steps=2, val_check_interval=1, log_every_n_steps=1)
    rows = rows_of(run("fit", "dmpo", settings))
    start = torch.load(best, weights_only=True)["callbacks"]["CollapseAlarm"]["best"]
    hits = (start["rank"] == 0).double().mean().item()
    for row in rows:
        change = float(row["alarm/hit_ratio@1_change"])
        assert change == pytest.approx(float(row["val/hit_ratio@1"]) - hits, abs=1e-6)
    assert float(rows[0]["alarm/train_loss_change"]) == 0, "stage 1 has another loss"


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="patience=0"):
        CollapseAlarm(patience=0)
