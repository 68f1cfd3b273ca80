"""What all data modules share: a store built once, loaders that know the ranks, and going on where training stopped."""

import math
import os
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from datamodules.batches import Batch, EpochRows, Row
from datamodules.checks import require_at_least, require_text
from datamodules.data_record import DataRecord, DataSettings
from datamodules.errors import InputError
from datamodules.global_batch import GlobalBatch
from datamodules.sampler import EvaluationSampler, TrainingSampler
from datamodules.store import TokenStore, read_store, write_folder
from datamodules.tokenization import tokenizer_fingerprint


class StoredDataModule(pl.LightningDataModule):
    """Serves packed batches from a folder that is named by its content's fingerprint.

    Args:
        batch_size: Prompts per device and batch in training.
        eval_batch_size: Prompts per device and batch in validation, test and prediction.
        order_seed: Decides order, negatives and draws in training; follows `seed_everything` in the CLI.
        num_workers: Processes that pack batches; 0 packs in the main process.
        cache_dir: Where downloads and built examples are kept.
        global_batch_size: Prompts per optimiser step over all processes, from which the trainer's
            `accumulate_grad_batches` is derived; None leaves that to the trainer.
    """

    def __init__(
        self,
        batch_size: int,
        eval_batch_size: int,
        order_seed: int,
        num_workers: int,
        cache_dir: str,
        global_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        require_at_least(
            1, batch_size=batch_size, eval_batch_size=eval_batch_size, global_batch_size=global_batch_size
        )
        require_text(cache_dir=cache_dir)
        if num_workers < 0:
            raise ValueError(f"num_workers={num_workers} must not be negative: 0 packs in the main process")
        self.batch_size = batch_size
        self.global_batch_size = global_batch_size
        self.eval_batch_size = eval_batch_size
        self.order_seed = order_seed
        self.num_workers = num_workers
        self.cache_dir = Path(cache_dir)
        self._store: TokenStore | None = None
        self._start = (0, 0)

    @cached_property
    @abstractmethod
    def settings(self) -> DataSettings:
        """Everything that shapes the stored examples: the source's bytes and every setting."""

    @cached_property
    def record(self) -> DataRecord:
        """What the stored examples are; `setup` has to run first."""
        return DataRecord(self.settings, self._contents())

    def _contents(self) -> dict[str, tuple[int, str]]:
        """Return what a checkpoint tells of the data's content, see `DataRecord`."""
        return {"tokens": (len(self.tokenizer), tokenizer_fingerprint(self.tokenizer))}

    @property
    def fingerprint(self) -> str:
        """Identifies the stored examples: the source's bytes and every setting that shapes them."""
        return self.settings.fingerprint

    @abstractmethod
    def _fetch(self) -> None:
        """Fetches what `_build` reads."""

    @abstractmethod
    def _build(self, folder: Path) -> dict[str, int | str]:
        """Writes a store into an empty folder and returns its report."""

    @abstractmethod
    def _collate(self, training: bool) -> Callable[[list[Any]], Batch]:
        """Makes what packs the rows of a batch."""

    @abstractmethod
    def _lengths(self, split: str) -> NDArray[np.int64]:
        """Counts the tokens of every row, as far as they are known before negatives are drawn; shape [N]."""

    @abstractmethod
    def _longest(self, split: str) -> NDArray[np.int64]:
        """Counts the tokens of every prompt with its longest response, EOS included; shape [N]."""

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
        """Opens the stored examples, and settles how many batches of training make a step."""
        if self._store is None:
            self._store = read_store(self._folder())
        if self.trainer is not None and stage == "fit":
            self._settle_global_batch(self.trainer)
            rank_zero_info(self.global_batch)

    def _settle_global_batch(self, trainer: pl.Trainer) -> None:
        if self.global_batch_size is None:
            return
        wanted = GlobalBatch.of_size(self.global_batch_size, trainer.world_size, self.batch_size)
        # Lightning's default cannot be told from a 1 that was asked for.
        if trainer.accumulate_grad_batches not in (1, wanted.accumulated):
            raise InputError(
                f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches} and data.global_batch_size asks "
                f"for {wanted.accumulated} ({wanted}): leave one of them out"
            )
        trainer.accumulate_grad_batches = wanted.accumulated

    @property
    def global_batch(self) -> GlobalBatch:
        """The prompts of an optimiser step."""
        trainer = self.trainer
        if trainer is None:
            return GlobalBatch(1, self.batch_size)
        return GlobalBatch(trainer.world_size, self.batch_size, trainer.accumulate_grad_batches)

    def require_context(self, limit: int) -> None:
        """Refuses examples that a model has no positions for; it would score them, wrongly.

        Args:
            limit: Positions that the model was made for.

        Raises:
            InputError: An example is longer.
        """
        for split, rows in self.store.splits.items():
            lengths = self._longest(split) if len(rows) else np.zeros(1, dtype=np.int64)
            if lengths.max() > limit:
                row = int(lengths.argmax())
                raise InputError(
                    f"{self._described(rows[row])}: a prompt has {lengths[row]} tokens and the model's context "
                    f"{limit}: set data.max_length to at most {limit}, or take a model with a longer context"
                )

    def _described(self, row: Row) -> str:
        """Name an example as the source does."""
        return f"user {self.store.users[row['user']]}"

    def _ranks(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def _loader(self, rows: EpochRows, training: bool, **batching: Any) -> DataLoader[Any]:
        return DataLoader(
            rows,
            collate_fn=self._collate(training),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=_leave_group,
            # Nothing is drawn from it; without one the loader would draw seeds for its workers from the generator
            # that dropout uses, more or fewer with their number.
            generator=torch.Generator(),
            **batching,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Loads positives with this epoch's negatives, from where a checkpoint stopped."""
        rows = EpochRows(self.store.splits["train"])
        return self._loader(
            rows, training=True, batch_size=self.batch_size, sampler=self._training_sampler(*self._start)
        )

    def _training_sampler(self, epoch: int, consumed: int) -> TrainingSampler:
        rank, world_size = self._ranks()
        lengths, whole = self._lengths("train"), self.global_batch
        sampler = TrainingSampler(
            lengths, self.batch_size, self.order_seed, rank, world_size, epoch, consumed, whole.accumulated
        )
        if sampler.num_batches == 0:
            raise InputError(f"{len(lengths)} training examples are fewer than the {whole}: lower it")
        return sampler

    def training_rows(self, batches: float, per_epoch: int) -> NDArray[np.int64]:
        """Lists the rows that all ranks together will train on, each once, in order; shape [N].

        Args:
            batches: Batches of a process from where training starts; infinity takes every row.
            per_epoch: Batches of an epoch that are trained on, see `trainer.limit_train_batches`.
        """
        lengths, whole = self._lengths("train"), self.global_batch
        if math.isinf(batches):
            return np.arange(len(lengths))
        at_once = whole.processes * whole.batch_size
        sampler = TrainingSampler(
            lengths, at_once, self.order_seed, 0, 1, *self._start, accumulated=whole.accumulated
        )
        return sampler.rows_ahead(int(batches), per_epoch)

    def candidates_loader(self, rows: NDArray[np.int64], batch_size: int) -> DataLoader[Any]:
        """Loads chosen training rows with all their candidates, rows of similar length together."""
        sampler = EvaluationSampler(self._lengths("train")[rows])
        split = EpochRows(self.store.splits["train"].select(rows))
        return self._loader(split, training=False, batch_size=batch_size, sampler=sampler)

    def _require_shares(self, split: str) -> None:
        """Refuses an evaluation in which a process would have nothing to do: the others would wait for it."""
        processes, examples = self._ranks()[1], len(self.store.splits[split])
        if examples < processes:
            raise InputError(
                f"{examples} {split} examples cannot be shared by {processes} processes: use fewer processes"
            )

    def _evaluation_loader(self, split: str) -> DataLoader[Any]:
        self._require_shares(split)
        sampler = EvaluationSampler(self._lengths(split), *self._ranks())
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
        """Says how far into the epoch training is."""
        state: dict[str, Any] = {"epoch": 0, "batches": 0, **asdict(self.global_batch)}
        if self.trainer is not None:
            loop = self.trainer.fit_loop
            # The epoch begun last, whether or not it counts as over: the end of training ends it in its middle.
            epoch = max(0, loop.epoch_progress.current.started - 1)
            batches = loop.epoch_loop.batch_progress.current.ready
            if batches >= self.trainer.num_training_batches:
                epoch, batches = epoch + 1, 0
            state.update(epoch=epoch, batches=batches)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where a checkpoint stopped.

        Raises:
            InputError: Training would go on with other global batches.
        """
        if self.trainer is not None and self.trainer.training:
            then = GlobalBatch(**{field.name: state_dict[field.name] for field in fields(GlobalBatch)})
            self._start = (state_dict["epoch"], self.global_batch.go_on_from(then, state_dict["batches"]))


def _leave_group(worker: int) -> None:
    """Puts a loader's worker out of reach of a signal to its process group.

    torchrun and `timeout` ask a run to stop by a signal to the whole group. The training process finishes its step and
    saves; a worker would die at once, and the training of it. It ends with the training process, which it watches.
    """
    os.setpgrp()
