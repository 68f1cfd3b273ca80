"""A run that ended and goes on: bit for bit the run that had been longer from the start."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from lightning_modules.checkpoint_files import read_whole
from tests.cli import config, run, supervised
from tests.faults.outcome import differences, samples

EPOCH = 7  # steps of 80 of the 594 examples


class Stop(pl.Callback):
    """Ends training after a step, as a time limit does."""

    def __init__(self, after_step: int) -> None:
        self._after_step = after_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step == self._after_step


@pytest.fixture(scope="module", autouse=True)
def _in_a_folder_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("extension"))
        yield


def settings_of(tiny_folder: Path, accumulated: int = 1, make: Any = config, **model: Any) -> dict[str, Any]:
    """A run with dropout in its adapters, a validation after every fourth step, and no schedule."""
    settings = make(tiny_folder)
    settings["model"]["init_args"].update(
        {"lora": {"rank": 2, "dropout": 0.3}, "lr_scheduler": None, **model}
    )
    settings["data"]["init_args"]["batch_size"] = 80 // accumulated
    settings["last_checkpoint"]["every_n_train_steps"] = 50
    settings["trainer"].update(val_check_interval=4 * accumulated, accumulate_grad_batches=accumulated)
    settings["trainer"]["callbacks"] = [{"class_path": "tests.faults.record.Recorder"}]
    del settings["trainer"]["max_steps"]
    return settings


def train(name: str, settings: dict[str, Any], *lengths: dict[str, Any]) -> Path:
    """Train under each length in turn, from the last checkpoint of the one before."""
    for number, trainer in enumerate(lengths):
        made = {**settings, "trainer": {**settings["trainer"], **trainer}}
        folder = run("fit", name, made, *(["--ckpt_path", "last"] if number else []))
    return folder


def steps(*lengths: int) -> list[dict[str, int]]:
    return [{"max_steps": length} for length in lengths]


def epochs(*lengths: int) -> list[dict[str, int]]:
    return [{"max_epochs": length} for length in lengths]


@pytest.fixture(scope="module")
def whole(tiny_folder: Path, _in_a_folder_of_their_own: None) -> Path:
    return train("whole", settings_of(tiny_folder), *steps(9))


def test_a_run_extended_over_the_end_of_an_epoch(tiny_folder: Path, whole: Path) -> None:
    assert differences(train("extended", settings_of(tiny_folder), *steps(5, 9)), whole, 1) == []


def test_a_run_with_a_reference_cache(tiny_folder: Path) -> None:
    """Rows of the rest of the epoch and of the next one are filled; without the cache it goes on too.

    The run that is longer from the start finds all rows: computed in other batches, they would differ by rounding.
    """
    settings = settings_of(tiny_folder, reference_cache="cached")
    settings["trainer"]["limit_val_batches"] = 0
    short = train("cached", settings, *steps(4, 9))
    shards = set(Path("cached").glob("*/*.arrow"))
    long = train("cached-long", settings, *steps(9))
    assert set(Path("cached").glob("*/*.arrow")) == shards
    assert differences(short, long, 1, ["last"]) == []
    run("fit", "cached", settings_of(tiny_folder), "--trainer.max_steps", "10", "--ckpt_path", "last")
    assert read_whole(short / "checkpoints/last.ckpt")["global_step"] == 10


def test_a_run_that_an_event_ended(
    tiny_folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its length was unknown, and Lightning validates where it ends: after step 5, where none is due."""
    settings = settings_of(tiny_folder)
    recorder = settings["trainer"]["callbacks"]
    stop = {"class_path": f"{__name__}.Stop", "init_args": {"after_step": 5}}
    settings["trainer"]["callbacks"] = [*recorder, {"class_path": "callbacks.BoundaryProportion"}, stop]
    run("fit", "event", settings, "--trainer.max_time", "00:01:00:00")
    settings["trainer"]["callbacks"] = recorder
    folder = run("fit", "event", settings, "--trainer.max_steps", "9", "--ckpt_path", "last")
    assert "the validation after step 5 was made because the run ended there" in capsys.readouterr().out
    found, expected = (read_whole(path / "checkpoints/last.ckpt")["state_dict"] for path in (folder, whole))
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert samples(folder, 0).by_step == samples(whole, 0).by_step
    lines, wanted = (logged(path) for path in (folder, whole))
    assert lines.pop("4")["val/mrr"]
    assert lines.keys() == wanted.keys()
    assert all(lines[step]["train/loss"] == wanted[step]["train/loss"] for step in wanted)


def logged(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return {line["step"]: line for line in csv.DictReader(file)}


def test_a_schedule_that_depends_on_the_length(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From step 7 on the rates are those of 12 steps: .01 · (12 − t) / 12; they differ since the second step.

    Thirds of 6 steps end at 2, 4 and 6, those of 12 at 4, 8 and 12; of the second the extension sees a half.
    """
    settings = settings_of(
        tiny_folder, lr_scheduler={"class_path": "lightning_modules.LinearWarmup", "init_args": {}}
    )
    settings["trainer"].update(log_every_n_steps=1, limit_val_batches=0)
    settings["trainer"]["callbacks"] = [{"class_path": "callbacks.BoundaryProportion"}]
    lines = logged(train("schedule", settings, *steps(6, 12)))
    # `lr` is the rate of the next step.
    assert [float(lines[str(t - 1)]["lr"]) for t in range(7, 13)] == pytest.approx(
        [0.01 * (12 - t) / 12 for t in range(7, 13)]
    )
    found = capsys.readouterr().out
    assert "this run has 12 steps now and had 6: from step 2 to 6 its learning rates differ" in found
    assert "resumed after step 6; learning rate 0.005" in found
    assert "the thirds in metrics.csv so far are of the length that the run had" in found
    for stage, ends in ((1, ["1"]), (2, ["3"]), (3, ["5", "11"])):
        assert [step for step in lines if lines[step][f"boundary/stage_{stage}/proportion"]] == ends


# The last step's checkpoint is written after the step as any other, or when training ends.
@pytest.mark.slow
@pytest.mark.parametrize(("cache", "every"), [(None, 1), ("cached", 50)])
@pytest.mark.parametrize(
    ("lengths", "accumulated", "trainer"),
    [
        (steps(EPOCH, 2 * EPOCH), 1, {}),
        (steps(EPOCH, 2 * EPOCH), 1, {"val_check_interval": EPOCH}),
        (steps(2, 5, 8, 9, 15), 1, {}),
        (steps(3, 5, 12), 2, {}),
        (epochs(1, 2, 3), 1, {}),
        (epochs(1, 3), 4, {}),
        (epochs(1, 2), 1, {"check_val_every_n_epoch": 1, "val_check_interval": 1.0}),
        ([*epochs(1), *steps(12)], 1, {}),
        (steps(4, 9), 1, {"check_val_every_n_epoch": 1, "val_check_interval": 0.5}),
    ],
)
def test_every_way_to_end(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cache: str | None,
    every: int,
    lengths: Any,
    accumulated: int,
    trainer: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)  # the recorder appends to what an earlier case left
    settings = settings_of(tiny_folder, accumulated, reference_cache=cache)
    settings["trainer"].update(trainer)
    settings["last_checkpoint"]["every_n_train_steps"] = every
    extended, long = train("extended", settings, *lengths), train("long", settings, lengths[-1])
    found = differences(extended, long, 1)
    if accumulated > 1:  # the recorder keeps one batch of a step
        found = [what for what in found if not what.startswith("samples")]
    assert found == []


@pytest.mark.slow
def test_supervised_training(tiny_folder: Path) -> None:
    settings = settings_of(tiny_folder, make=supervised)
    assert differences(train("s", settings, *steps(4, 9)), train("s-long", settings, *steps(9)), 1) == []


@pytest.mark.slow
def test_a_run_that_has_nothing_left_to_train_is_left_alone(tiny_folder: Path) -> None:
    settings = settings_of(tiny_folder)
    for every in (50, 1):
        settings["last_checkpoint"]["every_n_train_steps"] = every
        folder = train("done", settings, *epochs(1))
        run("test", "done", settings, "--ckpt_path", "last")
        before = (folder / "metrics.csv").read_text()
        run("fit", "done", settings, "--trainer.max_epochs", "1", "--ckpt_path", "last")
        assert (folder / "metrics.csv").read_text() == before


@pytest.mark.slow
def test_early_stopping(tiny_folder: Path) -> None:
    """The second validation, after step 8, counts as no better; with more patience it goes on."""
    settings = settings_of(tiny_folder)
    long = train("patient", settings, *steps(12))
    recorder = settings["trainer"]["callbacks"]
    for patience, args in ((1, []), (9, ["--ckpt_path", "last"])):
        early = {"monitor": "val/mrr", "mode": "max", "patience": patience, "min_delta": 9.0}
        settings["trainer"]["callbacks"] = [
            *recorder,
            {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": early},
        ]
        folder = run("fit", "early", settings, "--trainer.max_steps", "12", *args)
        reached = read_whole(folder / "checkpoints/last.ckpt")["global_step"]
        assert reached == (12 if args else 8)
    assert differences(folder, long, 1) == []
