"""FSDP on two real processes (gloo) against DDP: `configs/fsdp.yaml` is the only difference."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.checkpoint_files import read_whole
from tests.cli import config, supervised
from tests.lightning_modules.test_ddp import rows_of_run
from tests.many_runs import ROOT, Run, many_runs

FSDP = ("--config", str(ROOT / "configs/fsdp.yaml"))
LAST = ("--ckpt_path", "last")
FIVE_STEPS = ("--trainer.max_steps", "5")


def ten_steps(tiny_folder: Path) -> dict[str, Any]:
    """A full model of two layers, clipped at every step; 17 validation examples are 3 batches and 2."""
    settings = config(tiny_folder)
    settings["trainer"].update(max_steps=10, val_check_interval=5, log_every_n_steps=1, gradient_clip_val=0.5)
    settings["data"]["init_args"].update(max_val_examples=17, eval_batch_size=4)
    settings["model"]["init_args"]["language_model"]["init_args"]["num_hidden_layers"] = 2
    # A schedule would know how long a run is, and not be that of one which is cut short.
    settings["model"]["init_args"]["lr_scheduler"] = None
    return settings


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    return read_whole(folder / f"checkpoints/{name}.ckpt")


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
    pairs = list(zip(rows_of_run(found), rows_of_run(expected), strict=True))
    assert pairs
    for row, wanted in pairs:
        assert row.keys() == wanted.keys()
        for name, value in wanted.items():
            assert row[name] == value or float(row[name]) == pytest.approx(float(value), abs=1e-4), name


def test_fsdp_trains_as_ddp_does(tiny_folder: Path, tmp_path: Path) -> None:
    """Every logged number over 10 steps, two validations of unequal shares, weights and optimiser (1e-4)."""
    settings = ten_steps(tiny_folder)
    many_runs(tmp_path, Run("ddp", settings), Run("fsdp", settings, FSDP))
    require_same_metrics(tmp_path / "fsdp", tmp_path / "ddp")
    losses = [float(row["train/loss"]) for row in rows_of_run(tmp_path / "ddp") if row["train/loss"]]
    assert len(losses) == 10
    assert max(losses) - min(losses) > 0.01  # it does train
    # The best one is written while a validation has the policy gathered.
    for name in ("last", "best"):
        require_close(checkpoint(tmp_path / "fsdp", name), checkpoint(tmp_path / "ddp", name))


@pytest.mark.slow
def test_a_checkpoint_of_either_is_resumed_by_the_other_and_by_one_process(
    tiny_folder: Path, tmp_path: Path
) -> None:
    settings, alone = ten_steps(tiny_folder), ten_steps(tiny_folder)
    settings["trainer"]["callbacks"] = []  # the stages of BoundaryProportion are thirds of max_steps
    alone["data"]["init_args"]["batch_size"] *= 2
    alone["trainer"]["callbacks"] = [{"class_path": "callbacks.AdapterExport"}]

    def after_three_steps(name: str) -> tuple[str, str]:
        return "--ckpt_path", str(tmp_path / name / "checkpoints/previous.ckpt")

    many_runs(
        tmp_path,
        Run("whole", settings),
        Run("ddp, fsdp", settings, FIVE_STEPS),
        Run("ddp, fsdp", settings, (*FSDP, *after_three_steps("ddp, fsdp"))),
        Run("fsdp, ddp", settings, (*FSDP, *FIVE_STEPS)),
        Run("fsdp, ddp", settings, after_three_steps("fsdp, ddp")),
        Run("fsdp, one", settings, (*FSDP, *FIVE_STEPS)),
        Run("fsdp, one", alone, after_three_steps("fsdp, one"), processes=1),
        # As the refusal of AdapterExport says: a run that has ended is exported by one process.
        Run("ddp, fsdp", alone, LAST, processes=1),
    )
    for name in ("ddp, fsdp", "fsdp, ddp", "fsdp, one"):
        require_same_metrics(tmp_path / name, tmp_path / "whole")
        require_close(checkpoint(tmp_path / name), checkpoint(tmp_path / "whole"))
    assert (tmp_path / "ddp, fsdp/model/model.safetensors").is_file()


@pytest.mark.slow
def test_fsdp_with_what_is_computed_twice_and_in_parts(tiny_folder: Path, tmp_path: Path) -> None:
    """Stage 1 with layers computed again in the backward pass and two batches a step; generation at test."""
    settings = supervised(tiny_folder)
    settings["trainer"].update(
        max_steps=4, val_check_interval=4, log_every_n_steps=1, accumulate_grad_batches=2
    )
    settings["model"]["init_args"].update(gradient_checkpointing=True, lr_scheduler=None)
    settings["trainer"]["callbacks"] = []
    generate = ("--config", str(ROOT / "configs/generation.yaml"), *LAST)
    many_runs(
        tmp_path,
        Run("ddp", settings),
        Run("fsdp", settings, FSDP),
        Run("ddp", settings, generate, subcommand="test"),
        Run("fsdp", settings, (*generate, *FSDP), subcommand="test"),
    )
    require_close(checkpoint(tmp_path / "fsdp"), checkpoint(tmp_path / "ddp"))
    require_same_metrics(tmp_path / "fsdp", tmp_path / "ddp")
    assert rows_of_run(tmp_path / "fsdp")[-1]["test/constrained_hit_ratio@1"]


def test_what_cannot_be_sharded_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    """In one line and before the first step; one process is enough to ask."""
    refused = {
        "FullySharded is for full fine-tuning and model.lora is set": config(tiny_folder, lora={"rank": 2}),
        "a reference cache cannot be filled": config(tiny_folder, reference_cache="cache"),
    }
    for name in ("AdapterExport", "GradientSuppression"):
        settings = config(tiny_folder)
        settings["trainer"]["callbacks"] = [{"class_path": f"callbacks.{name}"}]
        refused[f"{name} needs whole weights"] = settings
    runs = [Run(f"run-{index}", made, FSDP, processes=1) for index, made in enumerate(refused.values())]
    for message, output in zip(refused, many_runs(tmp_path, *runs, status=2), strict=True):
        (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
        assert message in line
