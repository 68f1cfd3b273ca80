"""FSDP on two real processes (gloo) against DDP: `configs/fsdp.yaml` is the only difference."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.checkpoint_files import read_whole
from tests.cli import config, supervised
from tests.lightning_modules.test_ddp import ROOT, attempt, launch, rows_of

FSDP = ("--config", str(ROOT / "configs/fsdp.yaml"))


def ten_steps(tiny_folder: Path) -> dict[str, Any]:
    """A full model of two layers, clipped at every step; 17 validation examples are 3 batches and 2."""
    settings = config(tiny_folder)
    settings["trainer"].update(max_steps=10, val_check_interval=5, log_every_n_steps=1, gradient_clip_val=0.5)
    settings["data"]["init_args"].update(max_val_examples=17, eval_batch_size=4)
    settings["model"]["init_args"]["language_model"]["init_args"]["num_hidden_layers"] = 2
    # A schedule would know how long a run is, and not be that of one which is cut short.
    settings["model"]["init_args"]["lr_scheduler"] = None
    return settings


def last(folder: Path) -> dict[str, Any]:
    return read_whole(folder / "outputs/run/checkpoints/last.ckpt")


def require_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same weights and the same state of Adam, each with all its entries and at its place."""
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    for key, value in expected["state_dict"].items():
        torch.testing.assert_close(found["state_dict"][key], value, rtol=0, atol=1e-4)
    (adam,), (wanted) = found["optimizer_states"], expected["optimizer_states"][0]
    assert adam["param_groups"] == wanted["param_groups"]
    assert adam["state"].keys() == wanted["state"].keys()
    for index, values in wanted["state"].items():
        assert adam["state"][index].keys() == values.keys() == {"step", "exp_avg", "exp_avg_sq"}
        for name, value in values.items():
            torch.testing.assert_close(adam["state"][index][name], value, rtol=0, atol=1e-4)


def require_same_metrics(found: Path, expected: Path) -> None:
    pairs = list(zip(rows_of(found), rows_of(expected), strict=True))
    assert pairs
    for row, wanted in pairs:
        assert row.keys() == wanted.keys()
        for name, value in wanted.items():
            assert row[name] == value or float(row[name]) == pytest.approx(float(value), abs=1e-4), name


def test_fsdp_trains_as_ddp_does(tiny_folder: Path, tmp_path: Path) -> None:
    """Every logged number over 10 steps, two validations of unequal shares, weights and optimiser (1e-4)."""
    settings = ten_steps(tiny_folder)
    launch(tmp_path / "ddp", settings, "fit", 2)
    launch(tmp_path / "fsdp", settings, "fit", 2, *FSDP)
    require_same_metrics(tmp_path / "fsdp", tmp_path / "ddp")
    losses = [float(row["train/loss"]) for row in rows_of(tmp_path / "ddp") if row["train/loss"]]
    assert len(losses) == 10
    assert max(losses) - min(losses) > 0.01  # it does train
    require_close(last(tmp_path / "fsdp"), last(tmp_path / "ddp"))


@pytest.mark.slow
def test_a_checkpoint_of_either_is_resumed_by_the_other_and_by_one_process(
    tiny_folder: Path, tmp_path: Path
) -> None:
    settings = ten_steps(tiny_folder)
    launch(tmp_path / "whole", settings, "fit", 2)
    for name, before, after in (("to", (), FSDP), ("from", FSDP, ())):
        launch(tmp_path / name, settings, "fit", 2, *before, "--trainer.max_steps", "5")
        launch(tmp_path / name, settings, "fit", 2, *after, "--ckpt_path", "last")
        require_same_metrics(tmp_path / name, tmp_path / "whole")
        require_close(last(tmp_path / name), last(tmp_path / "whole"))
    launch(tmp_path / "one", settings, "fit", 2, *FSDP, "--trainer.max_steps", "5")
    settings["data"]["init_args"]["batch_size"] *= 2
    settings["trainer"]["callbacks"] = [{"class_path": "callbacks.AdapterExport"}]
    launch(tmp_path / "one", settings, "fit", 1, "--ckpt_path", "last")
    require_close(last(tmp_path / "one"), last(tmp_path / "whole"))
    # As the refusal of AdapterExport says: a run that has ended is exported by one process.
    launch(tmp_path / "from", settings, "fit", 1, "--ckpt_path", "last")
    assert (tmp_path / "from/outputs/run/model/model.safetensors").is_file()


@pytest.mark.slow
def test_fsdp_with_everything_that_is_computed_twice_or_in_parts(tiny_folder: Path, tmp_path: Path) -> None:
    """Stage 1 with layers computed again in the backward pass and two batches a step; generation at test."""
    settings = supervised(tiny_folder)
    settings["trainer"].update(
        max_steps=4, val_check_interval=4, log_every_n_steps=1, accumulate_grad_batches=2
    )
    settings["model"]["init_args"].update(gradient_checkpointing=True, lr_scheduler=None)
    settings["trainer"]["callbacks"] = []
    launch(tmp_path / "ddp", settings, "fit", 2)
    launch(tmp_path / "fsdp", settings, "fit", 2, *FSDP)
    require_close(last(tmp_path / "fsdp"), last(tmp_path / "ddp"))
    for name, strategy in (("ddp", ()), ("fsdp", FSDP)):
        generation = ("--config", str(ROOT / "configs/generation.yaml"))
        launch(tmp_path / name, settings, "test", 2, *generation, *strategy, "--ckpt_path", "last")
    require_same_metrics(tmp_path / "fsdp", tmp_path / "ddp")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora": {"rank": 2}}, "FullySharded is for full fine-tuning and model.lora is set"),
        pytest.param({"reference_cache": "cache"}, "a reference cache cannot", marks=pytest.mark.slow),
        pytest.param("callbacks.AdapterExport", "AdapterExport needs whole weights", marks=pytest.mark.slow),
        pytest.param(
            "callbacks.GradientSuppression", "GradientSuppression needs whole weights", marks=pytest.mark.slow
        ),
    ],
)
def test_what_cannot_be_sharded_is_refused(
    tiny_folder: Path, tmp_path: Path, change: dict[str, Any] | str, message: str
) -> None:
    """In one line and before the first step; one process is enough to ask."""
    settings = config(tiny_folder, **(change if isinstance(change, dict) else {}))
    if isinstance(change, str):
        settings["trainer"]["callbacks"] = [{"class_path": change}]
    result = attempt(tmp_path, settings, "fit", 1, *FSDP)
    assert result.returncode == 2, result.stderr[-3000:]
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
