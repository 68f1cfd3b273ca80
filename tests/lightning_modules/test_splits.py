"""One global batch through the real command line, however it is split."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli import config, run, weights


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def split(tiny_folder: Path, batch_size: int, global_batch_size: int | None = 80) -> dict[str, Any]:
    """An epoch of 594 examples is 7 steps, validated after the 3rd and the 6th."""
    settings = config(tiny_folder)
    settings["trainer"].update(val_check_interval=0.5, check_val_every_n_epoch=1, precision="64-true")
    settings["model"]["init_args"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05}}
    settings["data"]["init_args"].update(batch_size=batch_size, global_batch_size=global_batch_size)
    return settings


def fails(capsys: pytest.CaptureFixture[str], name: str, settings: dict[str, Any], *args: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        run("fit", name, settings, *args)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def rows_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.mark.parametrize("crash_after", [pytest.param(4, marks=pytest.mark.slow), 8])
def test_a_run_goes_on_from_the_same_global_position_under_another_split(
    tiny_folder: Path, crash_after: int
) -> None:
    """Crashes lie between checkpoints, in the first epoch and in the second one; same weights, metrics, validations."""
    whole = run("fit", "whole", split(tiny_folder, 80))
    settings = split(tiny_folder, 20)
    settings["trainer"]["callbacks"].append(
        {"class_path": "tests.cli.Crash", "init_args": {"after_step": crash_after}}
    )
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "broken", settings)
    resumed = run("fit", "broken", split(tiny_folder, 40), "--ckpt_path", "last")

    expected, found = (weights(folder / "checkpoints/last.ckpt") for folder in (whole, resumed))
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-6)
    alone, together = rows_of(whole), rows_of(resumed)
    assert [row["step"] for row in together] == [row["step"] for row in alone]
    assert sum("val/mrr" in row for row in alone) == 3
    for row, other in zip(alone, together, strict=True):
        assert other == pytest.approx(row, abs=1e-6)


def test_the_product_is_printed_once(tiny_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = split(tiny_folder, 20)
    settings["trainer"] |= {"max_steps": 1, "limit_val_batches": 0}
    run("fit", "a", settings)
    printed = [line for line in caplog.messages if line.startswith("global batch")]
    assert printed == ["global batch 80 = 1 process × 20 prompts × 4 accumulated"]


def test_what_contradicts_it_is_refused(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "data.global_batch_size 80 is no multiple of 1 process × 30 prompts = 30" in fails(
        capsys, "a", split(tiny_folder, 30)
    )
    line = fails(capsys, "b", split(tiny_folder, 20), "--trainer.accumulate_grad_batches", "2")
    assert "trainer.accumulate_grad_batches is 2 and data.global_batch_size asks for 4" in line
    line = fails(capsys, "c", split(tiny_folder, 20), "--trainer.limit_train_batches", "6")
    assert "an epoch is limited to 6 batches, of which 4 are accumulated to a step" in line
    assert "global_batch_size=0 must be at least 1" in fails(capsys, "d", split(tiny_folder, 20, 0))


def test_resuming_under_another_accumulation_is_refused(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = split(tiny_folder, 20, None)
    settings["trainer"] |= {"max_steps": 1, "limit_val_batches": 0}
    run("fit", "a", settings)
    resume = ("--ckpt_path", "last", "--trainer.accumulate_grad_batches", "2")
    line = fails(capsys, "a", settings, *resume)
    assert (
        "trained with global batch 20 = 1 process × 20 prompts × 1 accumulated, here it is global batch 40"
        in line
    )
