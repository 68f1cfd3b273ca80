"""What all data modules share: a store built once, loaders that know the ranks, and going on where training stopped."""

import time
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from datamodules.batches import Batch, EpochRows
from datamodules.errors import InputError
from datamodules.sampler import EvaluationSampler, TrainingSampler
from datamodules.store import TokenStore, read_store, write_folder


class StoredDataModule(pl.LightningDataModule):
    """Serves packed batches from a folder that is named by its content's fingerprint.

    Args:
        batch_size: Prompts per device and step in training.
        eval_batch_size: Prompts per device and step in validation, test and prediction.
        order_seed: Decides order, negatives and draws in training; follows `seed_everything` in the CLI.
        num_workers: Processes that pack batches; 0 packs in the main process.
        cache_dir: Where downloads and built examples are kept.
    """

    def __init__(
        self, batch_size: int, eval_batch_size: int, order_seed: int, num_workers: int, cache_dir: str
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.order_seed = order_seed
        self.num_workers = num_workers
        self.cache_dir = Path(cache_dir)
        self._store: TokenStore | None = None
        self._start = (0, 0)

    @cached_property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identifies the stored examples: the source's bytes and every setting that shapes them."""

    @abstractmethod
    def _fetch(self) -> None:
        """Fetches what `_build` reads."""

    @abstractmethod
    def _build(self, folder: Path) -> dict[str, int | str]:
        """Writes a store into an empty folder and returns its report."""

    @abstractmethod
    def _collate(self, training: bool) -> Callable[[list[Any]], Batch]:
        """Makes what packs the rows of a batch."""

    @property
    def store(self) -> TokenStore:
        """The tokenised examples.

        Raises:
            RuntimeError: `setup` has not run.
        """
        if self._store is None:
            raise RuntimeError("the data are not there yet: call prepare_data() and setup() first")
        return self._store

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that all tokens come from."""
        return self.store.tokenizer

    def _folder(self) -> Path:
        return self.cache_dir / f"examples-{self.fingerprint}"

    def prepare_data(self) -> None:
        """Fetches the source and builds the examples, unless they are there."""
        self._fetch()
        if not self._folder().is_dir():
            write_folder(self._folder(), self._build_and_tell)

    def _build_and_tell(self, folder: Path) -> None:
        start = time.perf_counter()
        counts = ", ".join(f"{key}: {value}" for key, value in self._build(folder).items() if value != "")
        rank_zero_info(f"built {self._folder()} in {time.perf_counter() - start:.1f} s ({counts})")

    def setup(self, stage: str) -> None:
        """Opens the stored examples."""
        if self._store is None:
            self._store = read_store(self._folder())

    def _ranks(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def _loader(self, rows: EpochRows, training: bool, **batching: Any) -> DataLoader[Any]:
        return DataLoader(
            rows,
            collate_fn=self._collate(training),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            # Nothing is drawn from it; without one the loader would draw seeds for its workers from the generator
            # that dropout uses, more or fewer with their number.
            generator=torch.Generator(),
            **batching,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Loads positives with this epoch's negatives, from where a checkpoint stopped."""
        rank, world_size = self._ranks()
        epoch, consumed = self._start
        num_rows = len(self.store.splits["train"])
        sampler = TrainingSampler(
            num_rows, self.batch_size, self.order_seed, rank, world_size, epoch, consumed
        )
        if sampler.num_batches == 0:
            raise InputError(
                f"{num_rows} training examples do not fill one batch of {self.batch_size} on {world_size} processes: "
                "lower batch_size"
            )
        rows = EpochRows(self.store.splits["train"])
        return self._loader(rows, training=True, batch_size=self.batch_size, sampler=sampler)

    def _evaluation_loader(self, split: str) -> DataLoader[Any]:
        sampler = EvaluationSampler(len(self.store.splits[split]), *self._ranks())
        rows = EpochRows(self.store.splits[split])
        return self._loader(rows, training=False, batch_size=self.eval_batch_size, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        """Loads the validation sample with all candidates."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Loads the test sample with all candidates."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Loads what `test_dataloader` loads."""
        return self.test_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """Says which data these are and how far into the epoch training is."""
        state: dict[str, Any] = {
            "fingerprint": self.fingerprint,
            "epoch": 0,
            "batches": 0,
            "processes": self._ranks()[1],
            "batch_size": self.batch_size,
        }
        if self.trainer is not None:
            epoch, batches = (
                self.trainer.current_epoch,
                self.trainer.fit_loop.epoch_loop.batch_progress.current.ready,
            )
            if batches >= self.trainer.num_training_batches:
                epoch, batches = epoch + 1, 0
            state.update(epoch=epoch, batches=batches)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where a checkpoint stopped.

        Raises:
            InputError: The checkpoint was trained on other data, or training would go on with other global batches.
        """
        if state_dict["fingerprint"] != self.fingerprint:
            raise InputError(
                f"the checkpoint was made with data {state_dict['fingerprint']}, these are {self.fingerprint}: restore "
                "the source and the data settings it was trained with"
            )
        if self.trainer is not None and self.trainer.training:
            self._require_same_global_batch(state_dict["processes"], state_dict["batch_size"])
        self._start = (state_dict["epoch"], state_dict["batches"])

    def _require_same_global_batch(self, processes: int, batch_size: int) -> None:
        """Other numbers of processes see the same examples in the same steps if the global batch stays the same."""
        now = self._ranks()[1]
        if processes * batch_size != now * self.batch_size:
            raise InputError(
                f"the checkpoint was written by {processes} processes with data.batch_size {batch_size}, here are "
                f"{now} with {self.batch_size}: the steps would no longer see the same examples; processes × "
                f"batch_size must stay {processes * batch_size}"
            )
