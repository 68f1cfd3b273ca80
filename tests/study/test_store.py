"""Many runs kept in small files."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules import InputError
from study.runs import Curve, Ranks, Run, read_run, significant
from study.store import load, store
from tests.study.folders import baseline, configuration, drawn_ranks, objective, write_predictions, write_run


def require_equal(first: Run, second: Run) -> None:
    plain = {"curves": {}, "ranks": None}
    assert replace(first, **plain) == replace(second, **plain)
    assert list(first.curves) == list(second.curves)
    for name, curve in first.curves.items():
        np.testing.assert_array_equal(curve.steps, second.curves[name].steps)
        np.testing.assert_array_equal(curve.values, second.curves[name].values)
    if first.ranks is None or second.ranks is None:
        assert first.ranks is second.ranks
        return
    assert first.ranks.examples == second.ranks.examples
    for name in ("ids", "users", "rank"):
        np.testing.assert_array_equal(getattr(first.ranks, name), getattr(second.ranks, name))


def some_runs(folder: Path) -> list[Run]:
    """Two data sets, a rule, a run without predictions, and a name that wants quoting."""
    goal = objective("DMPO", "DynamicPO")
    notes = {"seconds": 12.25, "commit": "abc1234", "command": 'python train.py fit --x "a, b"'}
    write_run(folder / "one", configuration(goal), drawn_ranks(0.5, 0), finished=notes)
    write_run(folder / "rule", baseline("Popularity"), drawn_ranks(0.3, 1))
    write_run(folder / 'odd, "name" é', configuration(objective("SDPO"), seed=1), None)
    other = write_run(folder / "other", configuration(goal, seed=2), None)
    write_predictions(other / "predictions.parquet", [3, 300, 1], candidates=300)
    return [read_run(path, path.name) for path in folder.iterdir()]


def test_what_is_stored_is_loaded(tmp_path: Path) -> None:
    runs = sorted(some_runs(tmp_path / "runs"), key=lambda run: run.name)
    store(runs, tmp_path / "results")
    back = load(tmp_path / "results")
    assert [run.name for run in back] == ['odd, "name" é', "one", "other", "rule"]
    for first, second in zip(runs, back, strict=True):
        require_equal(first, second)


def test_the_same_runs_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    runs = some_runs(tmp_path / "runs")
    store(runs, tmp_path / "a")
    store(runs[::-1], tmp_path / "b")
    store(load(tmp_path / "a"), tmp_path / "c")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
        assert file.read_bytes() == (tmp_path / "c" / file.name).read_bytes()


def test_runs_are_a_table_anyone_can_read(tmp_path: Path) -> None:
    store(some_runs(tmp_path / "runs"), tmp_path / "results")
    with (tmp_path / "results/runs.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows["one"]["gamma"] == "2.0"
    assert rows["one"]["command"] == 'python train.py fit --x "a, b"'
    assert (rows["rule"]["model"], rows["rule"]["learning_rate"], rows["rule"]["seconds"]) == (
        "Popularity",
        "",
        "",
    )


def test_two_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    run = some_runs(tmp_path / "runs")[0]
    with pytest.raises(InputError, match="two runs are called"):
        store([run, run], tmp_path / "results")


def test_files_that_are_no_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="write it again"):
        load(tmp_path)
    store(some_runs(tmp_path / "runs"), tmp_path / "results")
    (tmp_path / "results/curves.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="write it again"):
        load(tmp_path / "results")


def test_no_runs_are_stored_and_loaded(tmp_path: Path) -> None:
    store([], tmp_path)
    assert load(tmp_path) == []


def test_a_hundred_and_fifty_runs_are_small(tmp_path: Path) -> None:
    """As many as a study has, 25 curves of 30 points and 2,000 ranks each; nothing in them repeats."""
    template = read_run(write_run(tmp_path / "run", configuration(objective()), None), "run")
    rng = np.random.default_rng(0)
    ids, users = np.arange(2000), np.arange(2000).astype(str)
    steps = np.arange(9, 300, 10)

    def run(number: int) -> Run:
        curves = {f"train/{name}": Curve(steps, significant(rng.normal(size=30))) for name in range(25)}
        rank = np.minimum(rng.geometric(0.4, size=2000), 20)
        ranks = Ranks("0" * 12, ids, users, rank)
        return replace(template, name=f"study/dmpo-{number}", curves=curves, ranks=ranks)

    store([run(number) for number in range(150)], tmp_path / "results")
    assert sum(file.stat().st_size for file in (tmp_path / "results").iterdir()) < 1_000_000
