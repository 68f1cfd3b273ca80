"""Tokenised examples on disk: built once, renamed into place whole, read memory-mapped."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from datamodules.draws import Stream, random_bits
from datamodules.errors import InputError
from datamodules.examples import SPLITS, Examples
from datamodules.interactions import Interactions
from datamodules.prompts import Template
from datamodules.tokenization import PieceEncoder, load_tokenizer, save_tokenizer


@dataclass(frozen=True)
class Store:
    """What a finished folder holds.

    Attributes:
        splits: One `datasets.Dataset` per split, columns as `PromptWriter.table` writes them.
        titles: Title of every item.
        users: Source id of every user.
        train_log: User, item of every interaction before the first time cut, for rules that count; two arrays [N].
        tokenizer: The tokenizer all tokens come from.
        report: Counts of what was read, dropped and built.
    """

    splits: dict[str, datasets.Dataset]
    titles: list[str]
    users: list[str]
    train_log: tuple[NDArray[np.int32], NDArray[np.int32]]
    tokenizer: PreTrainedTokenizerBase
    report: dict[str, int | str]


class PromptWriter:
    """Turns examples into rows of tokens.

    Args:
        encoder: Encodes segments and titles.
        titles: Title of every item.
        templates: One is drawn per example.
        max_length: Most tokens of a prompt with its longest response.
        seed: With the example's id it decides the template.
    """

    def __init__(
        self, encoder: PieceEncoder, titles: list[str], templates: list[Template], max_length: int, seed: int
    ) -> None:
        self._encoder = encoder
        self._lines = [encoder.separator + tokens for tokens in encoder.titles(titles)]
        self._segments = [
            encoder.segments([template.before_history, template.before_candidates, template.after_candidates])
            for template in templates
        ]
        self._max_length = max_length
        self._seed = seed

    def table(self, examples: Examples, candidates: NDArray[np.int32], rows: NDArray[np.int64]) -> pa.Table:
        """Builds the Arrow table of some examples.

        Args:
            examples: All examples.
            candidates: Candidate items of all examples, shape [N, C].
            rows: The examples to write.

        Raises:
            InputError: A prompt does not fit even with an empty history.
        """
        choice = random_bits(self._seed, Stream.TEMPLATE, examples.id[rows], 1)[:, 0] % np.uint64(
            len(self._segments)
        )
        prompts, spans, kept = [], [], []
        for row, template in zip(rows.tolist(), choice.tolist(), strict=True):
            history = [item for item in examples.history[row].tolist() if item >= 0]
            prompt, span, history = self._prompt(
                int(examples.id[row]), template, history, candidates[row].tolist()
            )
            prompts.append(prompt)
            spans.append(span)
            kept.append(history)
        return pa.table(
            {
                "id": examples.id[rows],
                "user": examples.user[rows],
                "target": examples.target[rows],
                "time": examples.time[rows],
                "template": choice.astype(np.int32),
                "history": _list_array(kept),
                "candidates": _list_array(candidates[rows].tolist()),
                "history_span": _list_array(spans),
                "prompt": _list_array(prompts),
            }
        )

    def _prompt(
        self, example: int, template: int, history: list[int], candidates: list[int]
    ) -> tuple[list[int], tuple[int, int], list[int]]:
        """Assembles a prompt; where it is too long, the oldest history items go."""
        before_history, before_candidates, after = self._segments[template]
        lines = self._lines
        # The longest response has the tokens of its line: the EOS takes the line break's place.
        fixed = len(self._encoder.bos) + len(before_history) + len(before_candidates) + len(after)
        fixed += sum(len(lines[item]) for item in candidates) + max(len(lines[item]) for item in candidates)
        room = self._max_length - fixed
        if room < 0:
            raise InputError(
                f"example {example} needs {fixed} tokens without any history and max_length is {self._max_length}: "
                "raise max_length or lower num_candidates"
            )
        start = len(history)
        while start > 0 and room >= len(lines[history[start - 1]]):
            start -= 1
            room -= len(lines[history[start]])
        prompt = [*self._encoder.bos, *before_history]
        begin = len(prompt)
        for item in history[start:]:
            prompt += lines[item]
        end = len(prompt)
        prompt += before_candidates
        for item in candidates:
            prompt += lines[item]
        return prompt + after, (begin, end), history[start:]


def _list_array(rows: list[list[int]] | list[tuple[int, int]]) -> pa.ListArray:
    lengths = np.fromiter(map(len, rows), dtype=np.int32, count=len(rows))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(offsets[-1]))
    return pa.ListArray.from_arrays(offsets, values)


def write_store(
    folder: Path,
    tables: dict[str, pa.Table],
    log: Interactions,
    in_train: NDArray[np.bool_],
    tokenizer: PreTrainedTokenizerBase,
    report: dict[str, int | str],
) -> None:
    """Writes a store beside its place and renames it there, so that no reader ever sees half of one."""

    def fill(temporary: Path) -> None:
        datasets.disable_progress_bars()
        for split, table in tables.items():
            datasets.Dataset(table).save_to_disk(temporary / split)
        datasets.enable_progress_bars()
        pq.write_table(pa.table({"title": log.titles}), temporary / "items.parquet")
        pq.write_table(pa.table({"user": log.users}), temporary / "users.parquet")
        pq.write_table(
            pa.table({"user": log.user[in_train], "item": log.item[in_train]}), temporary / "train.parquet"
        )
        save_tokenizer(tokenizer, temporary / "tokenizer")
        (temporary / "report.json").write_text(json.dumps(report, indent=2))

    write_folder(folder, fill)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fills a temporary folder and renames it to `folder`; where another process was faster, keeps that one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fill(temporary)
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_store(folder: Path) -> Store:
    """Opens a store; the token columns stay on disk until they are read.

    Raises:
        InputError: The folder is not a whole store.
    """
    try:
        splits = {split: datasets.load_from_disk(str(folder / split)) for split in SPLITS}
        titles = pq.read_table(folder / "items.parquet")["title"].to_pylist()
        users = pq.read_table(folder / "users.parquet")["user"].to_pylist()
        train = pq.read_table(folder / "train.parquet")
        report = json.loads((folder / "report.json").read_text())
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise InputError(f"{folder} is broken ({error}): delete it, it will be built again") from error
    return Store(
        splits=splits,
        titles=titles,
        users=users,
        train_log=(train["user"].to_numpy(), train["item"].to_numpy()),
        tokenizer=load_tokenizer(str(folder / "tokenizer")),
        report=report,
    )
