"""A random seed for a run that asks for one, so that the run can be repeated all the same."""

import os
import secrets
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from datamodules.errors import InputError
from lightning_modules.checkpoints import read_checkpoint
from lightning_modules.run_folder import resolve_checkpoint


def order_seed(seed: bool | int) -> int:
    """Return the seed of the data's order; a placeholder where `choose_seed` has yet to choose it."""
    return 0 if isinstance(seed, bool) else seed


def choose_seed(config: Namespace, folder: Path, resumes: bool) -> None:
    """Replace `seed_everything: true` or `false` by a number.

    `false` means the same as `true`: order and draws are functions of a seed, so there is always one.

    Args:
        config: The command's settings.
        folder: The run's folder.
        resumes: Whether a training run goes on from `ckpt_path`, with the seed that it began with.

    Raises:
        InputError: The seed is out of range, or several processes would each choose another one.
    """
    if not isinstance(config.seed_everything, bool):
        if not 0 <= config.seed_everything < 2**32:
            raise InputError(f"seed_everything={config.seed_everything} must lie in 0..{2**32 - 1}")
        return
    seed = _seed_of(resolve_checkpoint(config.ckpt_path, folder)) if resumes else None
    if seed is None:
        seed = _random_seed()
        rank_zero_info(f"random seed {seed}: --seed_everything {seed} repeats this run")
    config.seed_everything = seed
    if "order_seed" in config.data.get("init_args", {}):
        config.data.init_args.order_seed = seed


def _seed_of(checkpoint: str) -> int | None:
    settings = read_checkpoint(checkpoint).get("config") or {}
    seed: int | None = settings.get("data", {}).get("init_args", {}).get("order_seed")
    return seed


def _random_seed() -> int:
    """Return a new seed, or in a process that Lightning launched the one of the process that launched it."""
    started = "LOCAL_RANK" in os.environ or "SLURM_PROCID" in os.environ
    if started and "PL_GLOBAL_SEED" in os.environ:
        return int(os.environ["PL_GLOBAL_SEED"])
    if int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1:
        raise InputError("--seed_everything true: each process would choose another seed: give a number")
    return secrets.randbelow(2**31)
