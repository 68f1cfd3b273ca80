"""The LightningDataModule for preferences outside recommendation."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from datamodules.base import StoredDataModule
from datamodules.batches import EpochBatches, Row
from datamodules.checks import require_at_least, require_text
from datamodules.data_record import DataSettings
from datamodules.errors import InputError
from datamodules.examples import SPLITS
from datamodules.preference_tokens import PreferenceEncoder, contents
from datamodules.preference_writer import PreferenceCollate, PreferenceWriter
from datamodules.sampler import EqualWidthBatches
from datamodules.sources.preferences import Preference, PreferenceFiles
from datamodules.sources.splits import TRAIN
from datamodules.store import SplitWriter, write_tokenizer
from datamodules.tokenization import learn_tokenizer, load_tokenizer

# Part of the fingerprint of stored examples: raise it when the way they are built changes.
_BUILD_VERSION = 2

_TOO_LONG = "rows whose responses leave no room for the prompt, skipped"
_MISPLACED = "rows that spell out special tokens"


class PreferencePairsDataModule(StoredDataModule):
    """Prompts with a chosen response and any number of rejected ones, which may differ between prompts.

    Args:
        source: The files.
        tokenizer: Hub name or folder of the language model's tokenizer; None learns a word-level one from `train`.
        special_tokens: What special tokens in the texts are: `text`, which is encoded as it stands, or `parse`d, as in
            prompts that went through a chat template already. A response that ends in the tokenizer's EOS gets no
            second one then, nor does a prompt a second BOS.
        chat: Put the prompt into the tokenizer's chat template: a text as a user's turn, a conversation as it is.
            Prompts that are conversations need it.
        num_negatives: Most rejected responses per prompt in training, a fresh subset every epoch; None takes all, 0 is
            for supervised training.
        batch_size: Prompts per device and batch in training.
        eval_batch_size: Prompts per device and batch in validation, test and prediction.
        max_length: Most tokens of a prompt with its longest response; a prompt loses its oldest tokens.
        seed: Decides which rows are held out and the order in which responses are ranked.
        order_seed: Decides order, negatives and draws in training; follows `seed_everything` in the CLI.
        num_workers: Processes that pack batches; 0 packs in the main process.
        cache_dir: Where built examples are kept.
        global_batch_size: Prompts per optimiser step over all processes, from which the trainer's
            `accumulate_grad_batches` is derived; None leaves that to the trainer.
        rows_per_chunk: Rows that are tokenised and written at a time; bounds the memory that takes.
    """

    def __init__(
        self,
        source: PreferenceFiles,
        tokenizer: str | None = None,
        special_tokens: Literal["parse", "text"] = "text",
        chat: bool = False,
        num_negatives: int | None = None,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        max_length: int = 512,
        seed: int = 0,
        order_seed: int = 0,
        num_workers: int = 0,
        cache_dir: str = "cache",
        global_batch_size: int | None = None,
        rows_per_chunk: int = 4096,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, order_seed, num_workers, cache_dir, global_batch_size)
        require_at_least(0, num_negatives=num_negatives)
        require_at_least(1, rows_per_chunk=rows_per_chunk, max_length=max_length)
        require_text(tokenizer=tokenizer)
        if special_tokens not in ("parse", "text"):
            raise ValueError(f"special_tokens={special_tokens} must be one of parse, text")
        self.source = source
        self.num_negatives = num_negatives
        self._tokenizer_name = tokenizer
        self._special_tokens = special_tokens
        self._chat = chat
        self._max_length = max_length
        self._seed = seed
        self._rows_per_chunk = rows_per_chunk

    @cached_property
    def settings(self) -> DataSettings:
        """Everything that shapes the stored examples: the files' bytes and every setting."""
        source = self.source.settings()
        learned_from = {
            name: source.training[name] for name in ("data.source.train", "data.source.skip_broken_rows")
        }
        return DataSettings(
            tokenizer={
                "data.tokenizer": self._tokenizer_name,
                **(learned_from if self._tokenizer_name is None else {}),
            },
            prompts={
                "data.max_length": self._max_length,
                "data.special_tokens": self._special_tokens,
                "data.chat": self._chat,
            },
            training={
                "data.class_path": type(self).__name__,
                **source.training,
                "data.seed": self._seed,
                "the version in which examples are built": _BUILD_VERSION,
            },
            validation={},
            test=source.test,
        )

    @property
    def most_negatives(self) -> int:
        """Most rejected responses of a prompt in training; `setup` has to run first."""
        there = int(self._widths("train").max()) - 1
        return there if self.num_negatives is None else min(there, self.num_negatives)

    def _fetch(self) -> None:
        """Fetches nothing: the files are local."""

    def _build(self, folder: Path) -> dict[str, int | str]:
        tokenizer = self._make_tokenizer()
        encoder = PreferenceEncoder(tokenizer, self._special_tokens == "parse", self._chat)
        writer = PreferenceWriter(encoder, self._max_length, self.source.skip_broken_rows)
        report: dict[str, int | str] = {}
        with ExitStack() as stack:
            splits = [stack.enter_context(SplitWriter(folder, split)) for split in SPLITS]
            texts = stack.enter_context(_column(folder / "items.parquet", "title"))
            users = stack.enter_context(_column(folder / "users.parquet", "user"))
            for rows in self._chunks(report):
                table, usable = writer.table(rows)
                texts.write_table(pa.table({"title": [text for row in rows for text in row.responses]}))
                users.write_table(pa.table({"user": [str(row.id) for row in rows]}))
                of_row = self._split(rows)
                for index, split in enumerate(splits):
                    split.add(table.filter(pa.array(usable & (of_row == index))))
        self._require_rows([split.rows for split in splits])
        report |= {f"{name} examples": split.rows for name, split in zip(SPLITS, splits, strict=True)}
        report["prompts cut to max_length"] = writer.cut
        if writer.skipped:
            report[_TOO_LONG] = writer.skipped
        if writer.misplaced:
            report[_MISPLACED] = f"{writer.misplaced}, first {writer.first_misplaced}"
        write_tokenizer(folder, tokenizer, report)
        return report

    def setup(self, stage: str) -> None:
        """Opens the stored examples, and warns of special tokens that are not what they seem."""
        super().setup(stage)
        if stage == "fit" and _MISPLACED in self.store.report:
            remedy = "data.chat adds a chat template's own: set it to false for prompts that went through one"
            if self._special_tokens == "text":
                remedy = (
                    "they are encoded as text: set data.special_tokens: parse if they are meant as tokens"
                )
            rank_zero_warn(f"{_MISPLACED}: {self.store.report[_MISPLACED]}; {remedy}")

    def _make_tokenizer(self) -> PreTrainedTokenizerBase:
        if self._tokenizer_name is not None:
            return load_tokenizer(self._tokenizer_name)
        rows = (row for row in self.source.read({}) if row.file_split == TRAIN)
        return learn_tokenizer(text for row in rows for text in (*contents(row.prompt), *row.responses))

    def _chunks(self, report: dict[str, int | str]) -> Iterator[list[Preference]]:
        rows = self.source.read(report)
        while chunk := list(islice(rows, self._rows_per_chunk)):
            yield chunk

    def _split(self, rows: list[Preference]) -> NDArray[np.int8]:
        of_file = np.array([row.file_split for row in rows], dtype=np.int8)
        return self.source.files.split_at_random(
            of_file, np.array([row.id for row in rows], dtype=np.int64), self._seed
        )

    def _require_rows(self, counts: list[int]) -> None:
        wanted = {*(split for split, _ in self.source.files), SPLITS.index("val")}
        if empty := [SPLITS[split] for split in sorted(wanted) if not counts[split]]:
            raise InputError(f"the {empty[0]} split of {self.source.files.train} is empty: bring more rows")

    def _described(self, row: Row) -> str:
        return f"row {row['id'] + 1} of the files"

    def _longest(self, split: str) -> NDArray[np.int64]:
        table = self.store.splits[split].data.table
        counts = pc.list_value_length(table["lengths"]).to_numpy()
        longest = np.maximum.reduceat(
            pc.list_flatten(table["lengths"]).to_numpy(), np.cumsum(counts) - counts
        )
        return pc.list_value_length(table["prompt"]).to_numpy() + longest.astype(np.int64)

    def _collate(self, training: bool) -> PreferenceCollate:
        return PreferenceCollate(self.num_negatives, self.order_seed, None if training else self._seed)

    def _lengths(self, split: str) -> NDArray[np.int64]:
        table = self.store.splits[split].data.table
        tokens = pc.add(pc.list_value_length(table["prompt"]), pc.list_value_length(table["responses"]))
        return tokens.to_numpy().astype(np.int64)

    def _widths(self, split: str) -> NDArray[np.int64]:
        column = self.store.splits[split].data.table["lengths"]
        return pc.list_value_length(column).to_numpy().astype(np.int64)

    def _evaluation_loader(self, split: str) -> DataLoader[Any]:
        if not len(self.store.splits[split]):
            raise InputError(f"there is no {split} file: set source.{split}")
        self._require_shares(split)
        batches = EqualWidthBatches(self._widths(split), self.eval_batch_size, *self._ranks())
        return self._loader(
            EpochBatches(self.store.splits[split]), training=False, batch_size=None, sampler=batches
        )


def _column(path: Path, name: str) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, pa.schema([(name, pa.string())]))
