"""The LightningDataModule for recommendation: from a source of interactions to packed batches."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from datamodules.batches import Collate, EpochRows
from datamodules.candidates import SeenItems, draw_candidates
from datamodules.draws import Stream, random_bits
from datamodules.errors import InputError
from datamodules.examples import SPLITS, Examples, build_examples
from datamodules.interactions import Interactions
from datamodules.prompts import FILM_TEMPLATES, Template
from datamodules.sampler import EvaluationSampler, TrainingSampler
from datamodules.sources import Source
from datamodules.store import PromptWriter, Store, read_store, write_store
from datamodules.tokenization import PieceEncoder, learn_tokenizer, load_tokenizer

# Part of the fingerprint of stored examples: raise it when the way they are built changes.
_BUILD_VERSION = 1


class RecommendationDataModule(pl.LightningDataModule):
    """Prompts, positives and candidate negatives of a recommendation data set.

    Args:
        source: Where the interactions come from.
        tokenizer: Hub name or folder of the language model's tokenizer; None learns a word-level one from the
            titles and templates.
        num_negatives: Negatives per prompt in training, a fresh subset of the candidates every epoch; 0 for
            supervised training.
        batch_size: Prompts per device and step in training.
        eval_batch_size: Prompts per device and step in validation, test and prediction.
        templates: Prompt templates with `{history}` and `{candidates}`; one is drawn per example.
        min_history: Fewest items before a target.
        max_history: Most recent items that are kept.
        num_candidates: Items in a prompt's list, the target included.
        max_length: Most tokens of a prompt with its longest response; the oldest history items go first.
        max_val_examples: Size of the fixed sample of validation examples; None takes all.
        max_test_examples: Size of the fixed sample of test examples; None takes all.
        seed: Decides ties, candidates, templates and samples: the data set.
        order_seed: Decides order, negatives and draws in training; follows `seed_everything` in the CLI.
        num_workers: Processes that pack batches; 0 packs in the main process.
        cache_dir: Where downloads and built examples are kept.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: str | None = None,
        num_negatives: int = 0,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        templates: list[str] = list(FILM_TEMPLATES),  # noqa: B006 - jsonargparse shows the default; never changed
        min_history: int = 3,
        max_history: int = 10,
        num_candidates: int = 20,
        max_length: int = 512,
        max_val_examples: int | None = 2000,
        max_test_examples: int | None = 2000,
        seed: int = 0,
        order_seed: int = 0,
        num_workers: int = 0,
        cache_dir: str = "cache",
    ) -> None:
        super().__init__()
        if not 0 <= num_negatives < num_candidates:
            raise ValueError(
                f"num_negatives={num_negatives} must lie in 0..{num_candidates - 1}: a list of {num_candidates} "
                f"candidates holds {num_candidates - 1} negatives"
            )
        if not 1 <= min_history <= max_history:
            raise ValueError(f"min_history={min_history} must lie in 1..max_history={max_history}")
        self.source = source
        self.num_negatives = num_negatives
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.max_examples = {"train": None, "val": max_val_examples, "test": max_test_examples}
        self.order_seed = order_seed
        self.num_workers = num_workers
        self.cache_dir = Path(cache_dir)
        self._tokenizer_name = tokenizer
        self._templates = templates
        self._min_history, self._max_history = min_history, max_history
        self._num_candidates = num_candidates
        self._max_length = max_length
        self._seed = seed
        self._store: Store | None = None
        self._start = (0, 0)

    @property
    def fingerprint(self) -> str:
        """Identifies the stored examples: the source's bytes and every setting that shapes them."""
        settings = [
            _BUILD_VERSION,
            self.source.fingerprint(self.cache_dir),
            self._tokenizer_name,
            self._templates,
            [self._min_history, self._max_history, self._num_candidates, self._max_length],
            self.max_examples,
            self._seed,
        ]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]

    @property
    def store(self) -> Store:
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
        self.source.prepare(self.cache_dir)
        if not self._folder().is_dir():
            self._build(self._folder())

    def setup(self, stage: str) -> None:
        """Opens the stored examples."""
        if self._store is None:
            self._store = read_store(self._folder())
            encoder = PieceEncoder(self._store.tokenizer)
            self._responses = encoder.responses(self._store.titles)

    def _build(self, folder: Path) -> None:
        start = time.perf_counter()
        log = self.source.read(self.cache_dir)
        examples = build_examples(log, self._min_history, self._max_history, self._seed)
        candidates = draw_candidates(
            SeenItems(log.user, log.item, len(log.titles)),
            examples.id,
            examples.user,
            examples.target,
            len(log.titles),
            self._num_candidates,
            self._seed,
        )
        templates = [Template.parse(text) for text in self._templates]
        tokenizer = self._make_tokenizer(log.titles)
        writer = PromptWriter(PieceEncoder(tokenizer), log.titles, templates, self._max_length, self._seed)
        tables = {split: writer.table(examples, candidates, self._rows(examples, split)) for split in SPLITS}
        report = {
            "users": len(log.users),
            "items": len(log.titles),
            "interactions": len(log),
            "users with too short a history, skipped": examples.skipped_users,
            **{
                f"{split} examples": int((examples.split == index).sum())
                for index, split in enumerate(SPLITS)
            },
            **{f"{split} examples kept": table.num_rows for split, table in tables.items()},
            "notes": "; ".join(log.notes),
        }
        write_store(folder, tables, log, _before_first_cut(log, examples), tokenizer, report)
        counts = ", ".join(f"{key}: {value}" for key, value in report.items() if value != "")
        rank_zero_info(f"built {folder} in {time.perf_counter() - start:.1f} s ({counts})")

    def _make_tokenizer(self, titles: list[str]) -> PreTrainedTokenizerBase:
        if self._tokenizer_name is not None:
            return load_tokenizer(self._tokenizer_name)
        segments = [text.replace("{history}", "\n").replace("{candidates}", "\n") for text in self._templates]
        return learn_tokenizer([f" {title}" for title in titles] + segments)

    def _rows(self, examples: Examples, split: str) -> NDArray[np.int64]:
        rows = np.flatnonzero(examples.split == SPLITS.index(split))
        most = self.max_examples[split]
        if most is None or len(rows) <= most:
            return rows
        keys = random_bits(self._seed, Stream.EVALUATION_SAMPLE, examples.id[rows], 1)[:, 0]
        return np.sort(rows[np.argsort(keys, kind="stable")[:most]])

    def _loader(
        self, split: str, batch_size: int, sampler: Any, num_negatives: int | None
    ) -> DataLoader[Any]:
        return DataLoader(
            EpochRows(self.store.splits[split]),
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=Collate(self._responses, num_negatives, self.order_seed),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def _ranks(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

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
        return self._loader("train", self.batch_size, sampler, self.num_negatives)

    def _evaluation_loader(self, split: str) -> DataLoader[Any]:
        sampler = EvaluationSampler(len(self.store.splits[split]), *self._ranks())
        return self._loader(split, self.eval_batch_size, sampler, None)

    def val_dataloader(self) -> DataLoader[Any]:
        """Loads the validation sample with all candidates."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Loads the test sample with all candidates."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Loads what `test_dataloader` loads."""
        return self._evaluation_loader("test")

    def state_dict(self) -> dict[str, Any]:
        """Says which data these are and how far into the epoch training is."""
        state: dict[str, Any] = {"fingerprint": self.fingerprint, "epoch": 0, "batches": 0}
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
            InputError: The checkpoint was trained on other data.
        """
        if state_dict["fingerprint"] != self.fingerprint:
            raise InputError(
                f"the checkpoint was made with data {state_dict['fingerprint']}, these are {self.fingerprint}: restore "
                "the source and the data settings it was trained with"
            )
        self._start = (state_dict["epoch"], state_dict["batches"])


def _before_first_cut(log: Interactions, examples: Examples) -> NDArray[np.bool_]:
    """Marks what a rule that counts may see: interactions earlier than every validation target."""
    return log.time < examples.time[examples.split > 0].min()
