"""Tokenised examples on disk: written a chunk at a time, renamed into place whole, read memory-mapped."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from datamodules.errors import InputError
from datamodules.examples import SPLITS
from datamodules.tokenization import load_tokenizer, save_tokenizer

Report = Mapping[str, int | str]


@dataclass(frozen=True)
class TokenStore:
    """What every finished folder holds.

    Attributes:
        splits: One `datasets.Dataset` per split; a split that the source does not have is empty.
        titles: Text of every item.
        users: Source id of every user.
        tokenizer: The tokenizer all tokens come from.
        report: Counts of what was read, dropped and built.
    """

    splits: dict[str, datasets.Dataset]
    titles: list[str]
    users: list[str]
    tokenizer: PreTrainedTokenizerBase
    report: dict[str, int | str]


@dataclass(frozen=True)
class Store(TokenStore):
    """What a folder of recommendation examples holds.

    Attributes:
        train_log: User, item of every interaction before the first time cut, for rules that count; two arrays [N].
    """

    train_log: tuple[NDArray[np.int32], NDArray[np.int32]]


def write_split(folder: Path, split: str, chunks: Iterable[pa.Table]) -> int:
    """Writes the rows of a split as they come; a chunk is all that is held in memory.

    Args:
        folder: Where the store is being written.
        split: Name of the split.
        chunks: At least one table, all of one schema.

    Returns:
        How many rows were written.
    """
    rows = 0
    writer: pa.RecordBatchStreamWriter | None = None
    with pa.OSFile(str(_split_file(folder, split)), "wb") as sink:
        for table in chunks:
            writer = writer or pa.ipc.new_stream(sink, table.schema)
            writer.write_table(table, max_chunksize=_ROWS_PER_RECORD_BATCH)
            rows += table.num_rows
        if writer is not None:
            writer.close()
    return rows


# A small batch of rows is gathered from so many record batches that larger ones would be read for nothing.
_ROWS_PER_RECORD_BATCH = 1000


def _split_file(folder: Path, split: str) -> Path:
    return folder / f"{split}.arrow"


def write_texts(
    folder: Path, titles: list[str], users: list[str], tokenizer: PreTrainedTokenizerBase, report: Report
) -> None:
    """Writes what a store holds beside its splits."""
    pq.write_table(pa.table({"title": pa.array(titles, pa.string())}), folder / "items.parquet")
    pq.write_table(pa.table({"user": pa.array(users, pa.string())}), folder / "users.parquet")
    save_tokenizer(tokenizer, folder / "tokenizer")
    (folder / "report.json").write_text(json.dumps(dict(report), indent=2))


def write_train_log(folder: Path, train_log: tuple[NDArray[np.int32], NDArray[np.int32]]) -> None:
    """Writes what rules that count may see."""
    pq.write_table(pa.table({"user": train_log[0], "item": train_log[1]}), folder / "train.parquet")


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
    """Opens a store of recommendation examples; the token columns stay on disk until they are read.

    Raises:
        InputError: The folder is not a whole store.
    """
    tokens = read_token_store(folder)
    try:
        train = pq.read_table(folder / "train.parquet")
    except (OSError, pa.ArrowInvalid) as error:
        raise _broken(folder, error) from error
    return Store(**vars(tokens), train_log=(train["user"].to_numpy(), train["item"].to_numpy()))


def read_token_store(folder: Path) -> TokenStore:
    """Opens any store.

    Raises:
        InputError: The folder is not a whole store.
    """
    try:
        splits = {split: datasets.Dataset.from_file(str(_split_file(folder, split))) for split in SPLITS}
        titles = pq.read_table(folder / "items.parquet")["title"].to_pylist()
        users = pq.read_table(folder / "users.parquet")["user"].to_pylist()
        report = json.loads((folder / "report.json").read_text())
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise _broken(folder, error) from error
    return TokenStore(splits, titles, users, load_tokenizer(str(folder / "tokenizer")), report)


def _broken(folder: Path, error: Exception) -> InputError:
    return InputError(f"{folder} is broken ({error}): delete it, it will be built again")
