"""Evaluation that counts every example once."""

import lightning.pytorch as pl
import torch

from datamodules.errors import InputError


def require_every_example(trainer: pl.Trainer, counted: int) -> None:
    """Checks, after a validation or a test, that all ranks together saw as many examples as there are.

    A sampler that pads its last batches with duplicates, as distributed ones do, would be noticed here. Part of a data
    set, as `limit_val_batches` asks for, and Lightning's sanity check are not held to it.

    Args:
        trainer: The trainer.
        counted: Examples of this rank.

    Raises:
        InputError: On every rank, if some were left out or counted twice.
    """
    loader = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    limit = trainer.limit_test_batches if trainer.testing else trainer.limit_val_batches
    total = torch.tensor(counted, device=trainer.strategy.root_device)
    found = int(trainer.strategy.reduce(total, reduce_op="sum"))
    if not is_part(limit) and not trainer.sanity_checking and found != len(loader.dataset):
        raise InputError(
            f"{found} examples were evaluated and there are {len(loader.dataset)}: leave "
            "trainer.use_distributed_sampler false; if it is, report this as a bug"
        )


def is_part(limit: int | float) -> bool:
    """Whether `limit_*_batches` asks for a part of the batches: 1.0 is all of them, 1 is one."""
    return isinstance(limit, int) or limit < 1.0
