"""The LightningDataModule for recommendation: from a source to packed batches."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from datamodules.audit import quick_audit
from datamodules.audit.faults import SHARE
from datamodules.audit.stored import stored_data
from datamodules.base import StoredDataModule
from datamodules.batches import Collate
from datamodules.candidates import Candidates, Redrawn
from datamodules.checks import require_at_least, require_text
from datamodules.corpus import Corpus, ExampleRules
from datamodules.data_record import DataSettings, content_digest
from datamodules.draws import Stream, random_bits
from datamodules.examples import SPLITS, Examples
from datamodules.prompt_settings import PromptSettings
from datamodules.prompt_writer import PromptWriter
from datamodules.prompts import FILM_TEMPLATES, FILMS, Template, templates_for
from datamodules.sources import Source
from datamodules.sources.base import REPEATED_TARGETS
from datamodules.store import SplitWriter, read_store, write_catalogue, write_tokenizer
from datamodules.tokenization import PieceEncoder, learn_tokenizer, load_tokenizer, special_token_pattern

# Part of the fingerprint of stored examples: raise it when the way they are built changes.
_BUILD_VERSION = 5

# What the quick audit found when the examples were built; the same examples have the same leaks.
_LEAKS = "leaks.json"
_ROWS_AUDITED = 50_000  # of each split: as many as its rules learn from


class RecommendationDataModule(StoredDataModule):
    """Prompts, positives and candidate negatives of a recommendation data set.

    Args:
        source: Where the interactions, or ready-made examples, come from.
        tokenizer: Hub name or folder of the language model's tokenizer; None learns one from the titles and templates.
        title_tokens: Whether a learned tokenizer has a token for every title; else it has one for every word.
        num_negatives: Negatives per prompt in training, a fresh subset of the candidates every epoch; 0 for
            supervised training.
        batch_size: Prompts per device and batch in training.
        eval_batch_size: Prompts per device and batch in validation, test and prediction.
        noun: What the items are, in the plural: the default templates speak of films, or of `gift cards` that a person
            chose.
        templates: Prompt templates with `{history}` and `{candidates}`; one is drawn per example.
        chat: Put the prompt into the tokenizer's chat template, as a user's turn.
        min_history: Fewest items before a target.
        max_history: Most recent items that are kept.
        candidates: Where the lists come from; None re-draws them uniformly per example, whatever the source brings.
        num_candidates: Items in a prompt's list, the target included.
        max_length: Most tokens of a prompt with its longest response; the oldest history items go first.
        max_val_examples: Size of the fixed sample of validation examples; None takes all.
        max_test_examples: Size of the fixed sample of test examples; None takes all.
        seed: Decides ties, candidates, templates and samples: the data set.
        order_seed: Decides order, negatives and draws in training; follows `seed_everything` in the CLI.
        num_workers: Processes that pack batches; 0 packs in the main process.
        cache_dir: Where downloads and built examples are kept.
        global_batch_size: Prompts per optimiser step over all processes, from which the trainer's
            `accumulate_grad_batches` is derived; None leaves that to the trainer.
        rows_per_chunk: Examples that are drawn, tokenised and written at a time; bounds the memory that takes.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: str | None = None,
        title_tokens: bool = False,
        num_negatives: int = 0,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        noun: str = FILMS,
        templates: list[str] = list(FILM_TEMPLATES),  # noqa: B006 - jsonargparse shows the default; never changed
        chat: bool = False,
        min_history: int = 3,
        max_history: int = 10,
        candidates: Candidates | None = None,
        num_candidates: int = 20,
        max_length: int = 512,
        max_val_examples: int | None = 2000,
        max_test_examples: int | None = 2000,
        seed: int = 0,
        order_seed: int = 0,
        num_workers: int = 0,
        cache_dir: str = "cache",
        global_batch_size: int | None = None,
        rows_per_chunk: int = 16384,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, order_seed, num_workers, cache_dir, global_batch_size)
        if num_candidates < 2:
            raise ValueError(
                f"num_candidates={num_candidates} must be at least 2: a target alone is always ranked first"
            )
        if not 0 <= num_negatives < num_candidates:
            raise ValueError(
                f"num_negatives={num_negatives} must lie in 0..{num_candidates - 1}: a list of {num_candidates} "
                f"candidates holds {num_candidates - 1} negatives"
            )
        if not 1 <= min_history <= max_history:
            raise ValueError(f"min_history={min_history} must lie in 1..max_history={max_history}")
        if title_tokens and tokenizer is not None:
            raise ValueError(
                f"title_tokens is for a learned tokenizer and tokenizer={tokenizer!r} is given: drop one"
            )
        require_at_least(1, rows_per_chunk=rows_per_chunk, max_length=max_length)
        require_text(tokenizer=tokenizer)
        for name, most in (("max_val_examples", max_val_examples), ("max_test_examples", max_test_examples)):
            if most is not None and most < 1:
                raise ValueError(f"{name}={most} must be at least 1, or null for all examples")
        if noun != FILMS:
            if templates != list(FILM_TEMPLATES):
                raise ValueError(
                    f"noun={noun!r} is for the default templates and templates are given: drop one"
                )
            templates = list(templates_for(noun))
        if not templates:
            raise ValueError("templates=[] must not be empty: give a text with {history} and {candidates}")
        for text in templates:
            Template.parse(text)
        self.source = source
        self.candidates = candidates or Redrawn()
        self.num_negatives = num_negatives
        self.max_examples = {"train": None, "val": max_val_examples, "test": max_test_examples}
        self._tokenizer_name = tokenizer
        self._title_tokens = title_tokens
        self._templates = templates
        self._chat = chat
        self._rules = ExampleRules(min_history, max_history, seed)
        self._num_candidates = num_candidates
        self._max_length = max_length
        self._seed = seed
        self._rows_per_chunk = rows_per_chunk
        self._responses: list[NDArray[np.int32]] = []

    @cached_property
    def settings(self) -> DataSettings:
        """Everything that shapes the stored examples: the source's bytes and every setting."""
        source = self.source.settings(self.cache_dir)
        # A learned tokenizer hangs on the catalogue, too, which is known when the examples are built.
        learned = {"data.title_tokens": self._title_tokens, "data.templates": self._templates}
        return DataSettings(
            tokenizer={
                "data.tokenizer": self._tokenizer_name,
                **(learned if self._tokenizer_name is None else {}),
            },
            prompts=self.prompt_settings.named(),
            training={
                "data.class_path": type(self).__name__,
                **source.training,
                "data.min_history": self._rules.min_history,
                "data.candidates": repr(self.candidates),
                "data.num_candidates": self._num_candidates,
                "data.seed": self._seed,
                "the version in which examples are built": _BUILD_VERSION,
            },
            validation={"data.max_val_examples": self.max_examples["val"]},
            test={"data.max_test_examples": self.max_examples["test"], **source.test},
        )

    def _contents(self) -> dict[str, tuple[int, str]]:
        store = self.store
        return {
            **super()._contents(),
            "items": (len(store.titles), content_digest(store.titles)),
            "users": (len(store.users), content_digest(store.users)),
        }

    @property
    def prompt_settings(self) -> PromptSettings:
        """What shapes a prompt, for whoever uses the trained model."""
        return PromptSettings(tuple(self._templates), self._chat, self._rules.max_history, self._max_length)

    @property
    def most_negatives(self) -> int:
        """Negatives of every prompt in training."""
        return self.num_negatives

    def _fetch(self) -> None:
        self.source.prepare(self.cache_dir)

    def setup(self, stage: str) -> None:
        """Opens the stored examples."""
        super().setup(stage)
        if not self._responses:
            self._responses = PieceEncoder(self.store.tokenizer).responses(self.store.titles)
            if stage == "fit":
                self._warn_of_leaks()
                self._warn_of_repeats()
                self._warn_of_special_tokens()

    def _warn_of_leaks(self) -> None:
        for reason in json.loads((self._folder() / _LEAKS).read_text()):
            rank_zero_warn(
                f"the data leak: {reason}: `python -m datamodules.audit {self._folder()}` says more"
            )

    def _warn_of_repeats(self) -> None:
        count = int(self.store.report.get(REPEATED_TARGETS, 0))
        examples = sum(int(self.store.report[f"{split} examples"]) for split in SPLITS)
        if count > SHARE * examples:
            rank_zero_warn(
                f"{count} of {examples} targets stand in their own history, where no re-drawn negative does: "
                "whoever repeats is right; add datamodules.filters.Deduplicate to source.filters, unless repeats are "
                "to be predicted"
            )

    def _warn_of_special_tokens(self) -> None:
        special = special_token_pattern(self.store.tokenizer)
        for text in [] if self._chat else self._templates:
            if found := special.search(text):
                rank_zero_warn(
                    f"template {text!r:.60} spells out the special token {found[0]!r}, which is encoded as text: set "
                    "data.chat: true and give the template without it"
                )

    def _lengths(self, split: str) -> NDArray[np.int64]:
        prompts = self.store.splits[split].data.table["prompt"]
        return pc.list_value_length(prompts).to_numpy().astype(np.int64)

    def _collate(self, training: bool) -> Collate:
        return Collate(self._responses, self.num_negatives if training else None, self.order_seed)

    def _longest(self, split: str) -> NDArray[np.int64]:
        table = self.store.splits[split].data.table
        prompts = pc.list_value_length(table["prompt"]).to_numpy()
        of_item = np.array([len(response) for response in self._responses])
        candidates = pc.list_flatten(table["candidates"]).to_numpy().reshape(len(prompts), -1)
        return prompts + of_item[candidates].max(axis=1)

    def _build(self, folder: Path) -> dict[str, int | str]:
        corpus = self.source.load(self.cache_dir, self._rules)
        examples = corpus.examples
        tokenizer = self._make_tokenizer(corpus.titles)
        templates = self.prompt_settings.parsed(tokenizer)
        encoder = PieceEncoder(tokenizer)
        writer = PromptWriter(encoder, corpus.titles, templates, self._max_length, self._seed, corpus.users)
        kept = {split: self._write_split(folder, split, corpus, writer) for split in SPLITS}
        report = {
            **corpus.report,
            **{
                f"{split} examples": int((examples.split == index).sum())
                for index, split in enumerate(SPLITS)
            },
            **{f"{split} examples kept": count for split, count in kept.items()},
        }
        write_catalogue(folder, corpus.titles, corpus.users, corpus.train_log)
        write_tokenizer(folder, tokenizer, report)
        (folder / _LEAKS).write_text(json.dumps(quick_audit(stored_data(read_store(folder), _ROWS_AUDITED))))
        return report

    def _write_split(self, folder: Path, split: str, corpus: Corpus, prompts: PromptWriter) -> int:
        rows = self._rows(corpus.examples, split)
        with SplitWriter(folder, split) as writer:
            for start in range(0, len(rows), self._rows_per_chunk):
                part = rows[start : start + self._rows_per_chunk]
                lists = self.candidates.lists(corpus, part, self._num_candidates, self._seed)
                writer.add(prompts.table(corpus.examples, lists, part))
        return writer.rows

    def _make_tokenizer(self, titles: list[str]) -> PreTrainedTokenizerBase:
        if self._tokenizer_name is not None:
            return load_tokenizer(self._tokenizer_name)
        segments = [segment for text in self._templates for segment in Template.parse(text).segments]
        return learn_tokenizer([f" {title}" for title in titles] + segments, self._title_tokens)

    def _rows(self, examples: Examples, split: str) -> NDArray[np.int64]:
        rows = np.flatnonzero(examples.split == SPLITS.index(split))
        most = self.max_examples[split]
        if most is None or len(rows) <= most:
            return rows
        keys = random_bits(self._seed, Stream.EVALUATION_SAMPLE, examples.id[rows], 1)[:, 0]
        return np.sort(rows[np.argsort(keys, kind="stable")[:most]])
