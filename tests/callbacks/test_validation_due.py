"""A run without an end is refused, one without a validation is told so; numbers by hand, 50 batches an epoch."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from callbacks import ValidationDue
from datamodules.base import StoredDataModule
from datamodules.errors import InputError
from tests.cli import config, run


class FiftyBatches(StoredDataModule):
    def __init__(self) -> None:
        pass

    def train_dataloader(self) -> Any:
        return range(50)


FiftyBatches.__abstractmethods__ = frozenset()


def start(**settings: Any) -> None:
    """Asks the callback of a trainer with such settings."""
    settings = {"max_epochs": -1, "check_val_every_n_epoch": None, **settings}
    trainer = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, **settings)
    trainer.datamodule = FiftyBatches()  # type: ignore[attr-defined]
    ValidationDue().setup(trainer, SimpleNamespace(), "fit")  # type: ignore[arg-type]


UNVALIDATED: list[tuple[dict[str, Any], str]] = [
    ({"max_steps": 12, "val_check_interval": 13}, "ends after 12 batches .* due after 13 "),
    ({"max_epochs": 2, "val_check_interval": 101}, "ends after 100 batches .* due after 101 "),
    # 12 steps of 4 batches; the step in which batch 55 lies begins after 52
    (
        {"max_steps": 12, "val_check_interval": 55, "accumulate_grad_batches": 4},
        "after 48 batches .* after 52 ",
    ),
    # a validation at half of every second epoch: 50 + 25
    (
        {"max_steps": 74, "val_check_interval": 0.5, "check_val_every_n_epoch": 2},
        r"after 74 batches .* after 75 \(val_check_interval 0.5, check_val_every_n_epoch 2\)",
    ),
    ({"max_epochs": 1, "check_val_every_n_epoch": 2}, "ends after 50 batches .* due after 100 "),
    ({"max_steps": 9, "limit_train_batches": 10, "check_val_every_n_epoch": 1}, "9 batches .* due after 10 "),
    (
        {"max_steps": 90, "limit_train_batches": 0.5, "check_val_every_n_epoch": 4},
        "90 batches .* due after 100 ",
    ),
]


@pytest.mark.parametrize(("settings", "told"), UNVALIDATED)
def test_a_run_that_ends_before_a_validation_is_told_so(settings: dict[str, Any], told: str) -> None:
    with pytest.warns(UserWarning, match=told):
        start(**settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        # what Lightning itself refuses later, with a traceback
        (
            {"max_steps": 99, "val_check_interval": 51, "check_val_every_n_epoch": 1},
            "an epoch has 50 batches .val_check_interval 51, check_val_every_n_epoch 1.: lower",
        ),
        (
            {"val_check_interval": 5},
            "training would never end: trainer.max_steps, trainer.max_epochs and .* are unset",
        ),
    ],
)
def test_what_never_validates_or_never_ends_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        start(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_steps": 12, "val_check_interval": 12},
        {"max_epochs": 2, "val_check_interval": 100},
        {"max_steps": 13, "val_check_interval": 55, "accumulate_grad_batches": 4},
        {"max_steps": 75, "val_check_interval": 0.5, "check_val_every_n_epoch": 2},
        {"max_steps": 10, "limit_train_batches": 10, "check_val_every_n_epoch": 1},
        {"max_steps": 12, "val_check_interval": 13, "limit_val_batches": 0},
        {"max_steps": 12, "val_check_interval": 13, "max_time": "00:00:01:00"},
        {"max_steps": 12, "val_check_interval": "00:00:01:00"},
        {"val_check_interval": 5, "callbacks": [EarlyStopping("val/mrr")]},
        {"fast_dev_run": True, "val_check_interval": 13},
        {"max_steps": 1, "check_val_every_n_epoch": 1, "overfit_batches": 1},
    ],
)
def test_what_validates_or_asks_for_none_starts(settings: dict[str, Any], recwarn) -> None:
    start(**settings)
    assert not [warning for warning in recwarn if "no validation" in str(warning.message)]


def test_the_command_line_says_it(tiny_folder: Path, tmp_path: Path, monkeypatch, recwarn) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run("fit", "none", config(tiny_folder), "--trainer.val_check_interval", "13")
    assert not (folder / "checkpoints/best.ckpt").exists()
    assert (
        "no validation will run, and there will be no best.ckpt: training ends after 12 batches (max_steps 12, "
        "max_epochs -1, 148 batches an epoch), the first validation is due after 13 (val_check_interval 13, "
        "check_val_every_n_epoch None)"
    ) in [str(warning.message) for warning in recwarn]
