"""How long interactions take to become examples, and in how much memory, per format, each in a fresh process.

python -m benchmarks.data --rows 1000000
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from benchmarks.measure import peak_mb
from datamodules import PreferencePairsDataModule, RecommendationDataModule
from datamodules.base import StoredDataModule
from datamodules.output_streams import outlive_readers
from datamodules.sources import PreferenceFiles, RecBoleSource, SDPOSource, TableSource

_ITEMS = 20_000
_INTERACTIONS_PER_USER = 100
_ROWS_PER_PART = 1 << 18
_CANDIDATES = 20
_HISTORY = 10


def main(args: list[str] | None = None) -> None:
    """Prints seconds, processor seconds and peak memory (resident, MiB) per format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rows-per-chunk", type=int, default=16384)
    parser.add_argument("--format", choices=_FORMATS, action="append", help="default: all")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # what the fresh process is told
    options = parser.parse_args(args)
    if options.measure:
        print(json.dumps(_measure(options.format[0], options.measure, options.rows_per_chunk)))
        return
    print(f"{'format':<12} {'rows':>10} {'read+build s':>12} {'processor s':>12} {'peak MB':>8}")
    for name in options.format or _FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            _FORMATS[name][0](Path(folder), options.rows)
            result = _fresh_process(name, Path(folder), options.rows_per_chunk)
        seconds = f"{result['seconds']:>12.1f} {result['processor_s']:>12.1f}"
        print(f"{name:<12} {options.rows:>10} {seconds} {result['peak_mb']:>8.0f}", flush=True)


def _fresh_process(name: str, folder: Path, rows_per_chunk: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.data", "--format", name, "--measure", str(folder)]
    command += ["--rows-per-chunk", str(rows_per_chunk)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    return result


def _measure(name: str, folder: Path, rows_per_chunk: int) -> dict[str, float]:
    """Builds the store; importing torch and the rest is in the memory and not in the time."""
    data = _FORMATS[name][1](folder, cache_dir=str(folder / "cache"), rows_per_chunk=rows_per_chunk)
    start, processor = time.perf_counter(), time.process_time()
    data.prepare_data()
    return {
        "seconds": time.perf_counter() - start,
        "processor_s": time.process_time()
        - processor,  # of all threads: says more where the machine is shared
        "peak_mb": peak_mb(),
    }


def _titles() -> list[str]:
    words = np.array(["Red", "Blue", "River", "House", "Moon", "Day", "Night", "Road"])
    return [f"{words[n % 8]} {words[n // 8 % 8]} {words[n // 64 % 8]} {n}" for n in range(_ITEMS)]


def _interactions(rows: int) -> Iterator[pa.Table]:
    """Generates popularity-skewed interactions; a part at a time, so that ten million fit."""
    rng = np.random.default_rng(0)
    users = max(rows // _INTERACTIONS_PER_USER, 1)
    for start in range(0, rows, _ROWS_PER_PART):
        count = min(_ROWS_PER_PART, rows - start)
        yield pa.table(
            {
                "user_id": rng.integers(users, size=count),
                "item_id": (_ITEMS * rng.random(count) ** 2).astype(np.int64),
                "timestamp": rng.integers(10**9, size=count),
            }
        )


def _items() -> pa.Table:
    return pa.table({"item_id": np.arange(_ITEMS), "title": _titles()})


def _with_titles(part: pa.Table) -> pa.Table:
    return part.append_column("title", pa.array(_titles()).take(part["item_id"]))


def _write_csv(path: Path, header: str, parts: Iterator[pa.Table], delimiter: str = ",") -> None:
    with path.open("wb") as file:
        file.write(header.encode() + b"\n")
        for part in parts:
            options = csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none")
            csv.write_csv(part, file, options)


def _write_recbole(folder: Path, rows: int) -> None:
    header = "user_id:token\titem_id:token\ttimestamp:float"
    _write_csv(folder / "log.inter", header, _interactions(rows), "\t")
    _write_csv(folder / "log.item", "item_id:token\ttitle:token_seq", iter([_items()]), "\t")


def _write_table_csv(folder: Path, rows: int) -> None:
    _write_csv(folder / "log", "user_id,item_id,timestamp,title", map(_with_titles, _interactions(rows)))


def _write_parquet(folder: Path, rows: int) -> None:
    schema = _with_titles(next(_interactions(1))).schema
    with pq.ParquetWriter(folder / "log", schema) as writer:
        for part in _interactions(rows):
            writer.write_table(_with_titles(part))


def _write_sdpo(folder: Path, rows: int) -> None:
    """One example a row; a tenth of them to test on."""
    rng, titles = np.random.default_rng(0), np.array(_titles())
    for name, count in (("train.json", rows - rows // 10), ("test.json", rows // 10)):
        with (folder / name).open("w") as file:
            for row in range(count):
                drawn = titles[rng.integers(_ITEMS, size=_HISTORY)].tolist()
                block = rng.integers(_ITEMS)
                candidates = titles[(block + 7 * np.arange(_CANDIDATES)) % _ITEMS].tolist()
                example = {
                    "historyList": "::".join(drawn),
                    "itemList": candidates,
                    "trueSelection": candidates[0],
                }
                file.write(("[" if row == 0 else ",") + json.dumps(example, indent=4))
            file.write("]")


def _write_preferences(folder: Path, rows: int) -> None:
    rng, titles = np.random.default_rng(0), np.array(_titles())
    with (folder / "train.jsonl").open("w") as file:
        for row in range(rows):
            first, *rest = (rng.integers(_ITEMS) + np.arange(2 + row % 4)) % _ITEMS
            example = {"prompt": f"Question {row % 1000}: what is next?", "chosen": titles[first]}
            file.write(json.dumps({**example, "rejected": titles[rest].tolist()}) + "\n")


def _recbole(folder: Path, **settings: Any) -> StoredDataModule:
    return RecommendationDataModule(RecBoleSource(str(folder), name="log"), **settings)


def _table(folder: Path, **settings: Any) -> StoredDataModule:
    return RecommendationDataModule(TableSource(str(folder / "log")), **settings)


def _sdpo(folder: Path, **settings: Any) -> StoredDataModule:
    return RecommendationDataModule(
        SDPOSource(str(folder / "train.json"), str(folder / "test.json")), **settings
    )


def _preferences(folder: Path, **settings: Any) -> StoredDataModule:
    return PreferencePairsDataModule(PreferenceFiles(str(folder / "train.jsonl")), **settings)


# What writes a table of a format, and what reads it.
_FORMATS: dict[str, tuple[Callable[[Path, int], None], Callable[..., StoredDataModule]]] = {
    "recbole": (_write_recbole, _recbole),
    "csv": (_write_table_csv, _table),
    "parquet": (_write_parquet, _table),
    "sdpo": (_write_sdpo, _sdpo),
    "preferences": (_write_preferences, _preferences),
}

if __name__ == "__main__":
    outlive_readers()
    main()
