"""Whether an optimiser can be used as it is set, found out before training and not in its first step."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.optim import Optimizer

from datamodules.errors import InputError


def require_usable(make: Callable[[Any], Optimizer], trainer: pl.Trainer, device: torch.device) -> None:
    """Let an optimiser take a step on a weight that is no model's.

    Args:
        make: Takes the trained parameters.
        trainer: The trainer.
        device: Where the model is.

    Raises:
        InputError: A class of torch cannot take a step with these settings, or its gradients could not be clipped. An
            optimiser of the user's own raises what it raises.
    """
    weight = nn.Parameter(torch.zeros(2, 2, device=device))
    weight.grad = torch.zeros_like(weight)
    optimizer = make([weight])
    name = type(optimizer).__name__
    if trainer.gradient_clip_val and _is_unclippable(optimizer, trainer):
        raise InputError(
            f"model.optimizer {name} is fused, and Lightning clips no gradients of such a one under "
            f"{trainer.precision}: set model.optimizer.fused to false, or leave trainer.gradient_clip_val out"
        )
    if not type(optimizer).__module__.startswith("torch.optim"):
        return
    try:
        optimizer.step(lambda: 0.0)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"model.optimizer {name}: {error}") from error


def _is_unclippable(optimizer: Optimizer, trainer: pl.Trainer) -> bool:
    mixed = isinstance(trainer.precision_plugin, MixedPrecision)
    return mixed and bool(getattr(optimizer, "_step_supports_amp_scaling", False))
