"""Filling the reference cache before the first step: every process takes its share of what is not there."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from tqdm import tqdm

from datamodules.batches import Batch
from lightning_modules.reference import Reference
from lightning_modules.reference_cache import CachedReference, ReferenceStore, cache_key

if TYPE_CHECKING:
    from lightning_modules.preference import PreferenceModule


def cached_reference(module: "PreferenceModule", reference: Reference, folder: Path) -> CachedReference:
    """Computes what a run will look up and is not on disk yet.

    Args:
        module: Attached to a trainer whose data are set up.
        reference: The live reference.
        folder: Holds a folder for every reference and data set.

    Raises:
        InputError: The processes do not see one folder.
    """
    trainer = module.trainer
    data = trainer.datamodule
    steps_left = trainer.estimated_stepping_batches - trainer.global_step
    rows = data.training_rows(steps_left * trainer.accumulate_grad_batches, int(trainer.num_training_batches))
    ids = data.store.splits["train"].data.table["id"].to_numpy()[rows]
    store = ReferenceStore(folder / f"reference-{cache_key(*module.reference_identity, data.fingerprint)}")
    # One process decides: another run may be writing to the folder while this one looks.
    absent = trainer.strategy.broadcast(rows[store.missing(ids)])
    if len(absent):
        rank_zero_info(f"computing reference log-probabilities of {len(absent)} of {len(rows)} examples")
        if trainer.global_step:
            rank_zero_info(
                "in other batches than a run that was longer from the start: equal but for rounding"
            )
        own = absent[trainer.global_rank :: trainer.world_size]
        loader = data.candidates_loader(own, data.eval_batch_size)
        bar = tqdm(
            loader,
            desc="Reference",
            unit=" batches",
            disable=not _shows_bars(trainer),
            leave=False,
            dynamic_ncols=True,
            file=sys.stdout,
        )
        store.fill(bar, lambda batch: _score(module, reference, batch))
    trainer.strategy.barrier()
    return store.load(np.unique(ids)).to(module.device)


def _shows_bars(trainer: pl.Trainer) -> bool:
    """Return whether training has a bar: only the first process, on a terminal, unless it is switched off."""
    progress = trainer.progress_bar_callback
    return progress is not None and bool(getattr(progress, "is_enabled", True))


def _score(module: "PreferenceModule", reference: Reference, batch: Batch) -> Tensor:
    trainer = module.trainer
    with trainer.precision_plugin.train_step_context():
        return reference(trainer.strategy.batch_to_device(batch, module.device))
