"""Settings that would do nothing, or break a run, are refused before anything is written."""

import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest

from datamodules import RecommendationDataModule
from datamodules.errors import InputError
from datamodules.sources import RecBoleSource
from lightning_modules import PreferenceModule, SupervisedModule
from lightning_modules.idle_settings import require_effective
from tests.cli import config, run

TRAINER = {
    "use_distributed_sampler": False, "reload_dataloaders_every_n_epochs": 0, "gradient_clip_algorithm": None,
    "gradient_clip_val": None, "accumulate_grad_batches": 1, "log_every_n_steps": None,
    "check_val_every_n_epoch": 1, "max_time": None, "val_check_interval": None,
}  # fmt: skip
BEST = {
    "monitor": "val/mrr", "filename": "best", "save_top_k": 1, "enable_version_counter": False, "save_last": None,
    "every_n_train_steps": None, "train_time_interval": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("trainer.use_distributed_sampler", True, "an order that cannot be resumed"),
        ("trainer.reload_dataloaders_every_n_epochs", 1, "is 1: every epoch has fresh negatives"),
        ("trainer.gradient_clip_algorithm", "value", "is 'value' and nothing would be clipped"),
        ("trainer.accumulate_grad_batches", 0, "is 0: it must be at least 1"),
        ("trainer.log_every_n_steps", 0, "is 0: it must be at least 1"),
        ("trainer.check_val_every_n_epoch", 0, "is 0: it must be at least 1"),
        ("trainer.gradient_clip_val", -1.0, "is -1.0: it must not be negative"),
        ("trainer.gradient_clip_val", math.nan, "is nan: it must not be negative"),
        ("trainer.max_time", {"seconds": 0}, "it must be more than 0"),
        ("trainer.val_check_interval", 0, "is 0: it must be more than 0"),
        ("best_checkpoint.monitor", None, "name the metric"),
        ("best_checkpoint.monitor", "", "name the metric"),
        ("best_checkpoint.filename", "mine", "is 'mine': the best weights would not be in best.ckpt alone"),
        ("best_checkpoint.save_top_k", 2, "is 2: the best weights would not be in best.ckpt alone"),
        (
            "best_checkpoint.enable_version_counter",
            True,
            "is True: the best weights would not be in best.ckpt",
        ),
        ("best_checkpoint.save_last", "link", "last.ckpt is that of last_checkpoint"),
        ("best_checkpoint.every_n_train_steps", 5, "is 5: between validations nothing is the best"),
    ],
)
def test_each_is_named(setting: str, value: Any, told: str) -> None:
    group, name = setting.split(".")
    groups = {"trainer": dict(TRAINER), "best_checkpoint": dict(BEST)}
    require_effective(*groups.values())
    groups[group][name] = value
    with pytest.raises(InputError, match=f"{setting} is .*{told}".replace("is .*is", "is")):
        require_effective(*groups.values())


def test_clipping_by_value_clips() -> None:
    require_effective({**TRAINER, "gradient_clip_algorithm": "value", "gradient_clip_val": 0.5}, BEST)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"eval_batch_size": -1}, "eval_batch_size=-1 must be at least 1"),
        ({"num_workers": -1}, "num_workers=-1 must not be negative"),
    ],
)
def test_sizes_that_cannot_be(tiny_folder: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        RecommendationDataModule(RecBoleSource(str(tiny_folder)), **settings)


@pytest.mark.parametrize(
    ("module", "negatives", "told"),
    [
        (SupervisedModule, 5, "data.num_negatives is 5: supervised training would learn negatives"),
        (SupervisedModule, None, "data.num_negatives is null, which takes all of them: supervised"),
        (PreferenceModule, 0, "data.num_negatives is 0, which is for supervised training"),
        (SupervisedModule, 0, None),
        (PreferenceModule, None, None),
    ],
)
def test_negatives_are_for_preferences(module: type, negatives: int | None, told: str | None) -> None:
    """Supervised training sums over all responses of a batch; a preference needs one to be against."""
    made = module.__new__(module)
    pl.LightningModule.__init__(made)
    made._trainer = SimpleNamespace(datamodule=SimpleNamespace(num_negatives=negatives))
    made.setup("test")
    with nullcontext() if told is None else pytest.raises(InputError, match=told):
        made.setup("fit")


def test_the_command_line_says_it_in_one_line(tiny_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """Before anything is written, and with the data at hand: nothing is left of a run that did not start."""
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    settings["trainer"].update(max_steps=1, val_check_interval=1)
    for setting, value, told in (
        (
            "trainer.gradient_clip_algorithm",
            "value",
            "trainer.gradient_clip_algorithm is 'value' and nothing",
        ),
        (
            "data.num_negatives",
            "0",
            "data.num_negatives is 0, which is for supervised training: set at least 1",
        ),
        (
            "best_checkpoint.monitor",
            "val/none",
            "best_checkpoint.monitor is val/none and no validation logs it",
        ),
    ):
        with pytest.raises(SystemExit) as caught:
            run("fit", "idle", settings, f"--{setting}", value)
        assert caught.value.code == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert line.startswith(f"error: {told}")
        assert not Path("outputs").exists()
