"""Tokenised examples on disk: written a chunk at a time, renamed into place whole, read memory-mapped."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from datamodules.errors import InputError, make_folder
from datamodules.examples import SPLITS
from datamodules.tokenization import load_tokenizer, save_tokenizer


@dataclass(frozen=True)
class TokenStore:
    """What a finished folder holds.

    Attributes:
        folder: Where it is.
        splits: One `datasets.Dataset` per split; a split that the source does not have is empty.
        tokenizer: The tokenizer all tokens come from.
        report: Counts of what was read, dropped and built.
    """

    folder: Path
    splits: dict[str, datasets.Dataset]
    tokenizer: PreTrainedTokenizerBase
    report: dict[str, int | str]

    @cached_property
    def titles(self) -> list[str]:
        """Text of every item; read when it is first asked for."""
        return _read_table(self.folder, "items")["title"].to_pylist()

    @cached_property
    def users(self) -> list[str]:
        """Source id of every user."""
        return _read_table(self.folder, "users")["user"].to_pylist()

    @cached_property
    def train_log(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """User and item of every interaction before the first time cut, for rules that count; two arrays [N]."""
        log = _read_table(self.folder, "train")
        return log["user"].to_numpy(), log["item"].to_numpy()


# A small batch of rows is gathered from so many record batches that larger ones would be read for nothing.
_ROWS_PER_RECORD_BATCH = 1000


class SplitWriter(AbstractContextManager["SplitWriter"]):
    """Writes the rows of a split as they come; a chunk is all that is held in memory.

    Args:
        folder: Where the store is being written.
        split: Name of the split.

    Attributes:
        rows: Rows written so far.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.rows = 0
        self._sink = pa.OSFile(str(_split_file(folder, split)), "wb")
        self._writer: pa.RecordBatchStreamWriter | None = None

    def add(self, table: pa.Table) -> None:
        """Writes some rows; all tables must have one schema."""
        if self._writer is None:
            self._writer = pa.ipc.new_stream(self._sink, table.schema)
        self._writer.write_table(table, max_chunksize=_ROWS_PER_RECORD_BATCH)
        self.rows += table.num_rows

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        self._sink.close()


def _split_file(folder: Path, split: str) -> Path:
    return folder / f"{split}.arrow"


def write_catalogue(
    folder: Path, titles: list[str], users: list[str], train_log: tuple[NDArray[np.int32], NDArray[np.int32]]
) -> None:
    """Writes the items, the users and what rules that count may see."""
    pq.write_table(pa.table({"title": pa.array(titles, pa.string())}), folder / "items.parquet")
    pq.write_table(pa.table({"user": pa.array(users, pa.string())}), folder / "users.parquet")
    pq.write_table(pa.table({"user": train_log[0], "item": train_log[1]}), folder / "train.parquet")


def write_tokenizer(
    folder: Path, tokenizer: PreTrainedTokenizerBase, report: Mapping[str, int | str]
) -> None:
    """Writes the tokenizer and the report."""
    save_tokenizer(tokenizer, folder / "tokenizer")
    (folder / "report.json").write_text(json.dumps(dict(report), indent=2))


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fills a temporary folder and renames it to `folder`; where another process was faster, keeps that one.

    Raises:
        InputError: Nothing can be written beside `folder`.
    """
    remedy = "name another folder with --data.cache_dir"
    make_folder(folder.parent, remedy)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder.parent} cannot be written ({error.strerror}): {remedy}") from error
    try:
        fill(temporary)
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fills a temporary folder and puts it in the place of `folder`, which is never seen half-written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        fill(new)
        if folder.exists():
            os.rename(folder, Path(temporary) / "old")
        os.rename(new, folder)


def read_store(folder: Path) -> TokenStore:
    """Opens a store; the token columns stay on disk until they are read.

    Raises:
        InputError: The folder is not a whole store.
    """
    try:
        splits = {split: datasets.Dataset.from_file(str(_split_file(folder, split))) for split in SPLITS}
        report = json.loads((folder / "report.json").read_text())
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise _broken(folder, error) from error
    return TokenStore(folder, splits, load_tokenizer(str(folder / "tokenizer")), report)


def _read_table(folder: Path, name: str) -> pa.Table:
    try:
        return pq.read_table(folder / f"{name}.parquet")
    except (OSError, pa.ArrowInvalid) as error:
        raise _broken(folder, error) from error


def _broken(folder: Path, error: Exception) -> InputError:
    return InputError(f"{folder} is broken ({error}): delete it, it will be built again")
