"""Failures that a user's input causes and no check foresees, as one line; a bug keeps its traceback."""

import errno

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules.errors import InputError

# What the constructor of Lightning's trainer raises for a setting, or for a package that a setting needs.
OF_A_SETTING = (TypeError, ValueError, ImportError, RuntimeError)

# What a path or a disk does to a program that is right.
_OF_THE_DISK = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EIO,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


def failure_line(error: Exception) -> str | None:
    """Return what the command line says instead of a traceback.

    Args:
        error: What ended the command.

    Returns:
        One line; None for an error that the user's input does not explain.
    """
    misses_metric = isinstance(error, RuntimeError) and str(error).startswith(
        "Early stopping conditioned on metric"
    )
    if isinstance(error, InputError | MisconfigurationException) or misses_metric:
        return _one_line(str(error))
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK and error.filename is not None:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space there" if is_full else "make it accessible, or name another path"
        return f"{error.filename}: {error.strerror}: {remedy}"
    if _is_out_of_memory(error):
        return (
            f"out of memory: {_one_line(str(error))[:200]}: lower data.batch_size or data.eval_batch_size (with "
            "trainer.accumulate_grad_batches), or set model.gradient_checkpointing"
        )
    return None


def _one_line(message: str) -> str:
    """Join the lines, as Lightning writes several; of an error from a loader's worker, take what was raised there."""
    if message.startswith("Caught ") and " in DataLoader worker process " in message:
        message = message.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(message.split())


def _is_out_of_memory(error: Exception) -> bool:
    # On a CPU torch raises a plain RuntimeError.
    of_a_cpu = isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)
    return of_a_cpu or isinstance(error, MemoryError | torch.OutOfMemoryError)
