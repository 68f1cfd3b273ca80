"""Learning rates of every schedule, derived by hand, for an optimiser's rate of 1."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD

from datamodules.errors import InputError
from lightning_modules.schedule_factory import ScheduleParser, SchedulerFactory
from tests.cli import config, run

TORCH = "torch.optim.lr_scheduler."
OURS = "lightning_modules."


class Holder:
    """What a model is to the parser."""

    def __init__(self, lr_scheduler: SchedulerFactory) -> None:
        self.lr_scheduler = lr_scheduler


def parsed(name: str, **settings: Any) -> SchedulerFactory:
    """Parse a config, write it as config.yaml is written, and parse that."""
    parser = ScheduleParser(exit_on_error=False)
    parser.add_class_arguments(Holder, "model")
    first = parser.parse_object({"model": {"lr_scheduler": {"class_path": name, "init_args": settings}}})
    again = parser.parse_string(parser.dump(first, skip_none=False))
    factory: SchedulerFactory = parser.instantiate(again).model.lr_scheduler
    return factory


def rates(factory: SchedulerFactory, steps: int, lr: float = 1.0) -> list[float]:
    """Rates of the first steps of a run of that length."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(()))], lr=lr, momentum=0.9)
    schedule = factory(optimizer, num_steps=steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        # (1 + cos(π t / T)) / 2 with T the run's 4 steps, or 2 if that is what was asked for
        (TORCH + "CosineAnnealingLR", {}, [1, 0.8535534, 0.5, 0.1464466]),
        (TORCH + "CosineAnnealingLR", {"T_max": 2}, [1, 0.5, 0, 0.5]),
        # up from 1 / 10 for .5 · 5 − 1 = 1.5 steps, then down to 1 / 10 / 10 at step 4: both on straight lines
        (
            TORCH + "OneCycleLR",
            {"pct_start": 0.5, "anneal_strategy": "linear", "div_factor": 10.0, "final_div_factor": 10.0},
            [0.1, 0.7, 0.802, 0.406, 0.01],
        ),
        (
            TORCH + "OneCycleLR",
            {
                "max_lr": 2.0, "total_steps": 6, "pct_start": 0.5, "anneal_strategy": "linear", "div_factor": 2.0,
                "final_div_factor": 1.0
            },
            [1, 1.5, 2, 5 / 3, 4 / 3, 1],
        ),
        (
            TORCH + "OneCycleLR",
            {
                "epochs": 2, "steps_per_epoch": 3, "pct_start": 0.5, "anneal_strategy": "linear", "div_factor": 2.0,
                "final_div_factor": 1.0
            },
            [0.5, 0.75, 1, 5 / 6, 4 / 6, 0.5],
        ),
        (TORCH + "StepLR", {"step_size": 2, "gamma": 0.5}, [1, 1, 0.5, 0.5, 0.25]),
        (TORCH + "ExponentialLR", {"gamma": 0.5}, [1, 0.5, 0.25, 0.125]),
        (TORCH + "MultiStepLR", {"milestones": [1, 3], "gamma": 0.1}, [1, 0.1, 0.1, 0.01]),
        (TORCH + "ConstantLR", {"factor": 0.5, "total_iters": 2}, [0.5, 0.5, 1, 1]),
        (TORCH + "LinearLR", {"start_factor": 0.2, "total_iters": 4}, [0.2, 0.4, 0.6, 0.8, 1]),
        (TORCH + "PolynomialLR", {"total_iters": 4}, [1, 0.75, 0.5, 0.25, 0]),
        (TORCH + "CosineAnnealingWarmRestarts", {"T_0": 2}, [1, 0.5, 1, 0.5]),
        (TORCH + "CyclicLR", {"base_lr": 0.2, "step_size_up": 2, "cycle_momentum": False}, [0.2, 0.6, 1, 0.6, 0.2]),
        # (t + 1) / 2, then (T − t) / (T − 2)
        (OURS + "LinearWarmup", {"warmup_steps": 2}, [0.5, 1, 1, 0.75, 0.5, 0.25]),
        (OURS + "LinearWarmup", {"warmup_steps": 2, "total_steps": 4}, [0.5, 1, 1, 0.5, 0, 0]),
        # one step of 4 up, then (1 + cos(π n / 3)) / 2
        (OURS + "CosineWarmup", {"warmup_share": 0.25}, [1, 1, 0.75, 0.25]),
    ],
)  # fmt: skip
def test_settings_are_bound_by_name_and_the_length_is_the_runs(
    name: str, settings: dict[str, Any], expected: list[float]
) -> None:
    assert rates(parsed(name, **settings), len(expected)) == pytest.approx(expected, abs=1e-7)


def test_the_peak_is_each_groups_own_rate() -> None:
    weights = [torch.nn.Parameter(torch.zeros(())) for _ in range(2)]
    optimizer = SGD([{"params": weights[:1], "lr": 0.5}, {"params": weights[1:], "lr": 0.02}], momentum=0.9)
    schedule = parsed(TORCH + "OneCycleLR", pct_start=0.5, div_factor=10.0)(optimizer, num_steps=6)
    assert schedule.get_last_lr() == pytest.approx([0.05, 0.002])
    for _ in range(2):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.5, 0.02])


@pytest.mark.parametrize(
    ("name", "settings", "num_steps", "message"),
    [
        (TORCH + "ReduceLROnPlateau", {}, 4, "waits for a metric"),
        (TORCH + "OneCycleLR", {"total_steps": 3}, 4, "ends after 3 steps and the run has 4 steps"),
        (TORCH + "OneCycleLR", {"total_steps": 3}, None, "the run has an unknown number of steps"),
        (TORCH + "OneCycleLR", {}, None, "OneCycleLR needs the number of steps.*trainer.max_steps"),
        (TORCH + "CosineAnnealingLR", {}, None, "CosineAnnealingLR needs the number of steps.*or T_max"),
        (OURS + "LinearWarmup", {}, None, "LinearWarmup needs the number of steps"),
        (TORCH + "LinearLR", {"start_factor": 7.0}, 4, "LinearLR: Starting multiplicative factor"),
    ],
)
def test_what_cannot_be_is_one_line(
    name: str, settings: dict[str, Any], num_steps: int | None, message: str
) -> None:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    with pytest.raises(InputError, match=message) as caught:
        parsed(name, **settings)(optimizer, num_steps=num_steps)
    assert "\n" not in str(caught.value)


def test_what_needs_no_length_runs_without_one() -> None:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    assert parsed(TORCH + "StepLR", step_size=2)(optimizer, num_steps=None).get_last_lr() == [1.0]


def logged_rates(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(line["lr"]) for line in csv.DictReader(file)]


def short(tiny_folder: Path, **schedule: Any) -> dict[str, Any]:
    settings = config(tiny_folder, lr_scheduler=schedule)
    settings["trainer"].update(max_steps=4, limit_val_batches=0, log_every_n_steps=1)
    return settings


def test_torchs_schedules_on_the_command_line(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lr` is the rate of the next step; AdamW's is .01. OneCycleLR of 4 steps: up for .3 · 4 − 1 = .2 of a step."""
    monkeypatch.chdir(tmp_path)
    step = short(tiny_folder, class_path=TORCH + "StepLR")
    found = logged_rates(run("fit", "step", step, "--model.lr_scheduler.step_size", "2"))
    assert found == pytest.approx([1e-2, 1e-3, 1e-3, 1e-4])
    cycle = run("fit", "cycle", short(tiny_folder), "--model.lr_scheduler", "OneCycleLR")
    # at n of 2.8 steps down: (1 + cos(π n / 2.8)) / 2, n = .8, 1.8, 2.8
    assert logged_rates(cycle)[:3] == pytest.approx([8.11745e-3, 2.83058e-3, 0], abs=1e-7)


def test_a_run_of_unknown_length_needs_a_schedule_without_one(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = short(tiny_folder, class_path=OURS + "CosineWarmup")
    settings["trainer"].update(max_steps=-1, max_time="00:00:01:00")
    with pytest.raises(SystemExit) as caught:
        run("fit", "timed", settings)
    assert caught.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "set trainer.max_steps or trainer.max_epochs" in lines[0]
