"""Runs of the real command line on the small data set."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import wandb
import yaml

from datamodules.errors import InputError
from lightning_modules.cli import main


class Crash(pl.Callback):
    """Dies after a step, before its checkpoint is written, as a machine would."""

    def __init__(self, after_step: int) -> None:
        self.after_step = after_step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.after_step:
            raise RuntimeError("crash")


class RefuseToStart(pl.Callback):
    """Refuses on one process where a filling reference cache does: model, checkpoint and data are there."""

    def __init__(self, rank: int = 0) -> None:
        self.rank = rank

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_rank == self.rank:
            pl_module.on_train_start = self._refuse  # type: ignore[method-assign]

    def _refuse(self) -> None:
        raise InputError("the cache cannot be filled")


class BreakLoss(pl.Callback):
    """Poisons a weight of one process, so that its next loss is not a number."""

    def __init__(self, after_step: int, rank: int = 0) -> None:
        self.after_step = after_step
        self.rank = rank

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if trainer.global_step == self.after_step and trainer.global_rank == self.rank:
            with torch.no_grad():
                next(pl_module.policy.parameters()).fill_(float("nan"))


def config(tiny_folder: Path, **model: Any) -> dict[str, Any]:
    """A preference run of 12 steps; an epoch is about 130 steps of 4."""
    preference = {
        "objective": {
            "class_path": "losses.DynamicPO",
            "init_args": {"objective": {"class_path": "losses.DMPO", "init_args": {"beta": 1.0}}},
        },
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1.0e-2}},
        "lr_scheduler": {"class_path": "lightning_modules.LinearWarmup", "init_args": {"warmup_steps": 2}},
        "language_model": {
            "class_path": "lightning_modules.SmallLlama",
            "init_args": {"hidden_size": 32, "num_hidden_layers": 1},
        },
    }
    return {
        "trainer": {
            "max_steps": 12,
            "val_check_interval": 6,
            "check_val_every_n_epoch": None,
            "log_every_n_steps": 2,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "accelerator": "cpu",
            "callbacks": [{"class_path": "callbacks.BoundaryProportion"}],
        },
        "last_checkpoint": {"every_n_train_steps": 3},
        "wandb": {"mode": "disabled"},
        "model": {"class_path": "lightning_modules.PreferenceModule", "init_args": {**preference, **model}},
        "data": {
            "class_path": "datamodules.RecommendationDataModule",
            "init_args": {
                "source": {
                    "class_path": "datamodules.sources.RecBoleSource",
                    "init_args": {"path": str(tiny_folder)},
                },
                "num_candidates": 8,
                "num_negatives": 5,
                "batch_size": 4,
                "max_val_examples": 16,
                "max_test_examples": 21,
            },
        },
    }


def supervised(tiny_folder: Path) -> dict[str, Any]:
    """The same as a supervised run."""
    settings = config(tiny_folder)
    del settings["model"]["init_args"]["objective"]
    settings["model"]["class_path"] = "lightning_modules.SupervisedModule"
    settings["model"]["init_args"]["history_weight"] = 0.3
    settings["data"]["init_args"]["num_negatives"] = 0
    return settings


def run(subcommand: str, name: str, settings: dict[str, Any], *args: str) -> Path:
    """Writes `configs/tiny/NAME.yaml` in the working directory, runs it, returns the run's folder."""
    path = Path("configs/tiny") / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    main([subcommand, "--config", str(path), *args])
    return Path("outputs/tiny") / name


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def end_wandb() -> None:
    """Ends W&B's run and service: in earnest every start is a process with its own."""
    if wandb.run is not None:
        wandb.finish()
    wandb.teardown()
