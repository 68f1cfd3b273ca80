"""Trained weights of fewer than 32 bits are refused, wherever they come from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli import config, run, supervised, weights
from tests.lightning_modules.architectures import save_tiny
from tests.lightning_modules.test_cli import fails


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pretrained(tiny_folder: Path, **model: Any) -> dict[str, Any]:
    """Two steps of a pretrained model whose weights are loaded in bfloat16."""
    folder, settings = str(save_tiny("llama3", Path("model"))), supervised(tiny_folder)
    settings["model"]["init_args"]["language_model"] = {
        "class_path": "lightning_modules.PretrainedLM",
        "init_args": {"name": folder, "dtype": "bfloat16"},
    }
    settings["model"]["init_args"].update(model)
    settings["data"]["init_args"].update(tokenizer=folder, max_length=1024, max_val_examples=4)
    settings["trainer"].update(max_steps=2, val_check_interval=2)
    return settings


def test_full_fine_tuning_of_bfloat16_weights_takes_a_yes(tiny_folder: Path, capsys) -> None:
    settings = pretrained(tiny_folder)
    line = fails(capsys, "fit", "full", settings)
    assert (
        "trained weights are bfloat16, which rounds most updates at small learning rates away: set " in line
    )
    assert (
        "set trainer.precision to bf16-mixed and language_model.dtype to float32, or train adapters" in line
    )
    assert not Path("outputs/tiny/full/checkpoints").exists()
    settings["model"]["init_args"]["train_in_low_precision"] = True
    state = weights(run("fit", "full", settings) / "checkpoints/last.ckpt")
    assert {value.dtype for value in state.values()} == {torch.bfloat16}


def test_adapters_on_a_bfloat16_base_are_float32(tiny_folder: Path) -> None:
    folder = run("fit", "lora", pretrained(tiny_folder, lora={"rank": 2}))
    state = weights(folder / "checkpoints/last.ckpt")
    assert {value.dtype for value in state.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("precision", "dtype", "lora"),
    [
        ("bf16-true", "bfloat16", {"rank": 2}),
        pytest.param("bf16-true", "bfloat16", None, marks=pytest.mark.slow),
        pytest.param("16-true", "float16", None, marks=pytest.mark.slow),
    ],
)
def test_a_precision_that_casts_the_weights_takes_a_yes(
    tiny_folder: Path, capsys, precision: str, dtype: str, lora: dict[str, int] | None
) -> None:
    settings = config(tiny_folder, lora=lora)
    settings["trainer"]["precision"] = precision
    line = fails(capsys, "fit", "cast", settings)
    assert f"trained weights are {dtype}, which rounds" in line
    assert "away: set trainer.precision to bf16-mixed; model.train_in_low_precision true trains them" in line


def test_a_baseline_in_bfloat16_is_refused(tiny_folder: Path, capsys) -> None:
    settings = config(tiny_folder)
    settings["trainer"].update(precision="bf16-true", callbacks=None)
    settings["model"] = {
        "class_path": "lightning_modules.baselines.SASRec",
        "init_args": {"optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}}},
    }
    assert fails(capsys, "fit", "sasrec", settings).endswith("set trainer.precision to 32-true or bf16-mixed")
