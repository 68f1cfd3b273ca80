"""Compare two runs on the same examples, from their prediction files.

    python -m study.compare A.parquet B.parquet

Prints the means of both, the mean of the paired differences B − A with a bootstrap interval over users, and an exact
McNemar test of hit_ratio@1. Warns if predictions are of another checkpoint than the run beside them has. Exit status
0, or 2 if the files cannot be compared.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from datamodules.errors import InputError
from datamodules.output_streams import outlive_readers
from datamodules.user_bootstrap import RESAMPLES, bootstrap_interval
from study.origin import foreign_checkpoint
from study.statistics import mcnemar_exact

_REMEDY = "predict the same split of the same data with both"
_COLUMNS = ("id", "user", "target", "rank", "candidates")


@dataclass(frozen=True)
class Comparison:
    """One metric of two runs.

    Attributes:
        metric: Its name.
        first: Mean of the first run.
        second: Mean of the second run.
        interval: 95 % interval of the mean difference, second − first; None with one user.
    """

    metric: str
    first: float
    second: float
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        """Mean of the paired differences."""
        return self.second - self.first

    @property
    def is_told_from_zero(self) -> bool:
        """Whether 0 is outside the interval; one without width comes from users that do not differ."""
        if self.interval is None:
            return False
        low, high = self.interval
        return low < high and not low <= 0 <= high


def metrics_of(rank: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Turn ranks into the metrics that are compared.

    Args:
        rank: Rank of each target, 1 is best, shape [N].

    Returns:
        Metric name to values, shape [N].
    """
    return {
        "hit_ratio@1": (rank <= 1).astype(np.float64),
        "hit_ratio@5": (rank <= 5).astype(np.float64),
        "ndcg@5": np.where(rank <= 5, 1 / np.log2(rank + 1), 0.0),
        "mrr": 1 / rank,
    }


def read_predictions(path: Path) -> pa.Table:
    """Read predictions, sorted by example id.

    Raises:
        InputError: The file is missing, is no prediction file, or holds an id twice.
    """
    try:
        table = pq.read_table(path, columns=list(_COLUMNS))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: {reason}: give a predictions.parquet of `train.py predict`") from error
    if absent := [name for name in _COLUMNS if name not in table.column_names]:
        raise InputError(f"{path}: no column {absent[0]!r}: give a predictions.parquet of `train.py predict`")
    if not table.num_rows:
        raise InputError(f"{path} holds no rows: run `train.py predict` again")
    ids, counts = np.unique(table["id"].to_numpy(), return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{path}: example {ids[counts > 1][0]} occurs twice: run `train.py predict` again")
    if any(table[name].null_count for name in _COLUMNS):
        raise InputError(f"{path} has empty cells: run `train.py predict` again")
    rank = table["rank"]
    if not pa.types.is_integer(rank.type) or pc.min(rank).as_py() < 1:
        raise InputError(f"{path}: ranks are whole numbers from 1 on: run `train.py predict` again")
    return table.sort_by("id")


def require_same_examples(first: pa.Table, second: pa.Table) -> None:
    """Check that two sorted tables rank the same targets in the same lists.

    Raises:
        InputError: They do not, and a paired comparison would mean nothing.
    """
    first_ids, second_ids = first["id"].to_numpy(), second["id"].to_numpy()
    alone = np.setxor1d(first_ids, second_ids)
    if len(alone):
        sizes = f"{len(first_ids):,} and {len(second_ids):,} rows, first: {alone[0]}"
        raise InputError(f"{len(alone):,} examples are in one file only ({sizes}): {_REMEDY}")
    for name in ("target", "user", "candidates"):
        pairs = zip(first[name].to_pylist(), second[name].to_pylist(), strict=True)
        same = [sorted(a) == sorted(b) if name == "candidates" else a == b for a, b in pairs]
        if not all(same):
            row = same.index(False)
            differ = f"{same.count(False):,} examples differ in {name}, first: {first_ids[row]}"
            raise InputError(f"{differ}: {_REMEDY}")


def compare(first: pa.Table, second: pa.Table, seed: int) -> list[Comparison]:
    """Compare every metric on the same examples, resampling users.

    Args:
        first: Predictions as `read_predictions` returns them.
        second: The same for the other run.
        seed: Decides the resamples.

    Raises:
        InputError: The examples differ.
    """
    require_same_examples(first, second)
    users = np.array(first["user"].to_pylist())
    several = len(np.unique(users)) > 1
    ours, theirs = metrics_of(first["rank"].to_numpy()), metrics_of(second["rank"].to_numpy())
    return [
        Comparison(
            name,
            float(ours[name].mean()),
            float(theirs[name].mean()),
            bootstrap_interval(theirs[name] - ours[name], users, seed) if several else None,
        )
        for name in ours
    ]


def report(first: pa.Table, second: pa.Table, seed: int) -> str:
    """Write the comparison as text; arguments and errors as in `compare`."""
    users = len(set(first["user"].to_pylist()))
    lines = [f"{'':<12}{'A':>8}{'B':>8}{'B − A':>9}{'   95 % interval' if users > 1 else ''}"]
    lines += [_line(row) for row in compare(first, second, seed)]
    first_right, second_right = first["rank"].to_numpy() <= 1, second["rank"].to_numpy() <= 1
    first_only = int((first_right & ~second_right).sum())
    second_only = int((second_right & ~first_right).sum())
    alone = f"hit_ratio@1: right in A alone {first_only:,}, B alone {second_only:,}"
    if users == 1:
        lines += [
            "",
            f"{first.num_rows:,} examples of one user: they say nothing about other users. {alone}.",
        ]
        return "\n".join(lines)
    p = mcnemar_exact(first_only, second_only)
    lines += [
        "",
        f"{first.num_rows:,} examples of {users:,} users. Intervals: {RESAMPLES:,} resamples of users,",
        f"because examples of one user are dependent (seed {seed}); * where 0 is outside.",
        f"{alone}; exact McNemar p = {p:.2g}.",
        "It takes examples as independent: where it disagrees with the interval, trust the interval.",
    ]
    return "\n".join(lines)


def _line(row: Comparison) -> str:
    """Write one metric, with a true minus sign."""
    means = f"{row.metric:<12}{row.first:>8.4f}{row.second:>8.4f}{row.difference:>+9.4f}"
    if row.interval is not None:
        low, high = row.interval
        means += f"   [{low:+.4f}, {high:+.4f}]{'   *' if row.is_told_from_zero else ''}"
    return means.replace("-", "−")


def main(args: list[str] | None = None) -> int:
    """Print the comparison.

    Args:
        args: Arguments to parse; None takes the process's.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m study.compare", description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, metavar="A.parquet", help="predictions of one run")
    parser.add_argument(
        "second", type=Path, metavar="B.parquet", help="predictions of another run on the same examples"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    settings = parser.parse_args(args)
    try:
        first, second = read_predictions(settings.first), read_predictions(settings.second)
        for path in (settings.first, settings.second):
            if wrong := foreign_checkpoint(path, anywhere=True):
                print(
                    f"warning: {wrong}: predict again, unless this is what you mean to compare",
                    file=sys.stderr,
                )
        print(f"A: {settings.first}\nB: {settings.second}\n\n{report(first, second, settings.seed)}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
