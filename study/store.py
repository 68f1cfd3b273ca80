"""Many runs in three small files that can be put under version control."""

import csv
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datamodules.errors import InputError
from study.runs import Curve, Ranks, Run, significant
from study.settings import Setting

RUNS, CURVES, RANKS = "runs.csv", "curves.parquet", "ranks.parquet"

_OF_RUN = ("name", "seed", "seconds", "commit", "command")
_OF_SETTING = tuple(field.name for field in fields(Setting))
_TYPES: dict[str, type] = {
    "seed": int,
    "negatives": int,
    "m": int,
    **dict.fromkeys(("seconds", "learning_rate", "beta", "gamma", "alpha"), float),
}


def store(runs: list[Run], folder: Path) -> None:
    """Writes `runs.csv`, `curves.parquet` and `ranks.parquet`; the same runs give the same bytes.

    Args:
        runs: With names that differ.
        folder: Where the files go; those of an earlier time are replaced.

    Raises:
        InputError: Two runs have one name.
    """
    runs = sorted(runs, key=lambda run: run.name)
    for first, second in pairwise(runs):
        if first.name == second.name:
            raise InputError(f"two runs are called {first.name}: give a folder above both")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / RUNS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*_OF_RUN, *_OF_SETTING], lineterminator="\n")
        writer.writeheader()
        for run in runs:
            writer.writerow({**{name: getattr(run, name) for name in _OF_RUN}, **asdict(run.setting)})
    _write(_curve_table(runs), folder / CURVES)
    _write(_rank_table(runs), folder / RANKS)


def load(folder: Path) -> list[Run]:
    """Reads what `store` wrote, sorted by name.

    Raises:
        InputError: A file is missing, or they are not of one `store`.
    """
    try:
        with (folder / RUNS).open(newline="", encoding="utf-8") as file:
            rows = [_parsed(row) for row in csv.DictReader(file)]
        curves_of = _curves(pq.read_table(folder / CURVES, read_dictionary=["run", "metric"]))
        ranks_of = _ranks(pq.read_table(folder / RANKS))
        return [
            Run(
                **{name: row[name] for name in _OF_RUN},
                setting=Setting(**{name: row[name] for name in _OF_SETTING}),
                curves=curves_of.get(row["name"], {}),
                ranks=ranks_of.get(row["name"]),
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"{folder} cannot be read ({error}): write it again from the runs' folders"
        ) from error


def _parsed(row: dict[str, str]) -> dict[str, Any]:
    """Text stays text, and an empty number is None."""
    return {
        name: (_TYPES[name](text) if text else None) if name in _TYPES else text for name, text in row.items()
    }


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=19)


def _curve_table(runs: list[Run]) -> pa.Table:
    """A row a point, in the order of runs, metrics and steps: neighbours resemble each other and compress well."""
    curves = [(run.name, metric, curve) for run in runs for metric, curve in sorted(run.curves.items())]
    lengths = [len(curve.steps) for _, _, curve in curves]

    def repeated(names: list[str]) -> pa.Array:
        return pa.array(np.repeat(np.array(names, dtype=object), lengths), pa.string())

    def joined(parts: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(np.concatenate(parts) if parts else [], kind)

    return pa.table(
        {
            "run": repeated([name for name, _, _ in curves]),
            "metric": repeated([metric for _, metric, _ in curves]),
            "step": joined([curve.steps for _, _, curve in curves], pa.int32()),
            "value": joined([curve.values.astype(np.float32) for _, _, curve in curves], pa.float32()),
        }
    )


def _curves(table: pa.Table) -> dict[str, dict[str, Curve]]:
    run, metric = (table[name].combine_chunks() for name in ("run", "metric"))
    of_run, of_metric = run.indices.to_numpy(), metric.indices.to_numpy()
    steps, values = table["step"].to_numpy().astype(np.int64), significant(table["value"].to_numpy())
    starts = np.flatnonzero(np.diff(of_run, prepend=-1) | np.diff(of_metric, prepend=-1))
    curves: dict[str, dict[str, Curve]] = {}
    for start, end in pairwise([*starts, len(steps)]):
        names = run.dictionary[int(of_run[start])].as_py(), metric.dictionary[int(of_metric[start])].as_py()
        curves.setdefault(names[0], {})[names[1]] = Curve(steps[start:end], values[start:end])
    return curves


def _rank_table(runs: list[Run]) -> pa.Table:
    """A row an example of a data set, a column a run, empty where a run has other examples."""
    ranked = {run.name: run.ranks for run in runs if run.ranks is not None}
    of_data = {ranks.examples: ranks for _, ranks in sorted(ranked.items(), reverse=True)}
    parts = [of_data[examples] for examples in sorted(of_data)]
    columns: dict[str, Any] = {
        "examples": pa.array([part.examples for part in parts for _ in part.ids], pa.string()),
        "id": pa.array([example for part in parts for example in part.ids], pa.int64()),
        "user": pa.array([user for part in parts for user in part.users], pa.string()),
    }
    highest = max((int(ranks.rank.max()) for ranks in ranked.values()), default=1)
    kind = pa.from_numpy_dtype(np.min_scalar_type(highest))
    for name, ranks in ranked.items():
        cells = [ranks.rank if part.examples == ranks.examples else [None] * len(part.ids) for part in parts]
        columns[f"rank of {name}"] = pa.array([cell for part in cells for cell in part], kind)
    return pa.table(columns)


def _ranks(table: pa.Table) -> dict[str, Ranks]:
    ranks = {}
    for column in table.column_names[3:]:
        own = table.filter(pc.is_valid(table[column]))
        ranks[column.removeprefix("rank of ")] = Ranks(
            examples=own["examples"][0].as_py(),
            ids=own["id"].to_numpy(),
            users=np.array(own["user"].to_pylist()),
            rank=own[column].to_numpy().astype(np.int64),
        )
    return ranks
