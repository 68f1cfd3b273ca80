"""The table of finished runs: what it reads, and its intervals."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules import InputError
from study.summary import read_run, table

RANKS = np.array([1, 2, 1, 6, 1, 3, 1, 1])
USERS = ["a", "a", "b", "b", "c", "c", "d", "d"]

# By hand: 5 of 8 ranks are 1; ndcg@5 is (5 + 1 / log2 3 + 0 + 1 / log2 4) / 8; mrr is (5 + 1/2 + 1/6 + 1/3) / 8.
METRICS = {"test/hit_ratio@1": 0.625, "test/ndcg@5": (5.5 + 1 / np.log2(3)) / 8, "test/mrr": 0.75}


def finished_run(folder: Path, metrics: dict[str, float], users: list[str]) -> Path:
    folder.mkdir()
    columns = {
        "id": range(len(RANKS)),
        "user": users,
        "target": ["t"] * 8,
        "rank": RANKS,
        "candidates": [["t"]] * 8,
    }
    pq.write_table(
        pa.table({name: list(values) for name, values in columns.items()}), folder / "predictions.parquet"
    )
    lines = [
        ",".join(["step", "train/loss", *metrics]),
        "9,0.5,,,",
        "0,," + ",".join(map(str, metrics.values())),
    ]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    (folder / "finished.json").write_text(json.dumps({"config": "", "seconds": 61.0}))
    return folder


def test_a_run_is_read_with_intervals_over_users(tmp_path: Path) -> None:
    """Hits per user are 1, 1, 1 and 2 of 2, so the mean over four drawn users lies in 4/8 … 8/8.

    4/8 needs four draws among three users, probability (3/4)^4 = .32 > .025; 8/8 has (1/4)^4 = .004 and at least 7/8
    has .004 + 4 (1/4)^3 (3/4) = .051 > .025: the percentile interval is [4/8, 7/8] exactly.
    """
    run = read_run(finished_run(tmp_path / "run", METRICS, USERS))
    assert run.intervals["test/hit_ratio@1"] == (0.5, 0.875)
    assert (run.examples, run.train_loss, run.seconds) == (8, 0.5, 61.0)
    summary = json.loads(json.dumps(run.as_dict()))
    assert summary["test/mrr"] == 0.75
    assert summary["intervals"]["test/hit_ratio@1"] == [0.5, 0.875]
    for name, ends in run.intervals.items():
        assert ends is not None
        assert ends[0] < METRICS[name] < ends[1]


def test_dependent_examples_widen_the_interval(tmp_path: Path) -> None:
    """Two users of four examples, by hand: .75 and .5, each or half of both."""
    run = read_run(finished_run(tmp_path / "two", METRICS, ["a"] * 4 + ["b"] * 4))
    assert run.intervals["test/hit_ratio@1"] == (0.5, 0.75)


def test_one_user_gives_no_interval(tmp_path: Path) -> None:
    """Whoever is drawn, it is the same mean, which says nothing of other users."""
    run = read_run(finished_run(tmp_path / "one", METRICS, ["a"] * 8))
    assert set(run.intervals.values()) == {None}
    assert "| .625 |" in " ".join(table({"SFT": run}).splitlines()[2].split())


def test_the_table_is_aligned_and_fits_a_screen(tmp_path: Path) -> None:
    run = read_run(finished_run(tmp_path / "run", METRICS, USERS))
    lines = table({"DynamicPO on DMPO, K = 15": run, "SFT": run}).splitlines()
    assert " .625 [.500, .875]" in lines[2]
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 120
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        "", "train loss", "hit_ratio@1", "ndcg@5", "mrr", "seconds"
    ]  # fmt: skip


def test_predictions_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run", {**METRICS, "test/mrr": 0.76}, USERS)
    with pytest.raises(
        InputError, match=r"gives test/mrr 0.7500 and metrics.csv 0.7600: run `train.py test`"
    ):
        read_run(folder)
    (folder / "predictions.parquet").unlink()
    with pytest.raises(InputError, match=r"predictions.parquet"):
        read_run(folder)
    (folder / "metrics.csv").write_text("step,train/loss\n0,1\n")
    with pytest.raises(InputError, match="holds no test metrics"):
        read_run(folder)
    with pytest.raises(InputError, match=r"metrics.csv is missing"):
        read_run(tmp_path)
