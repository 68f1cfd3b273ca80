"""A report of few runs claims no more than they say."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.report.cells import arms_of, cells_of, paired_by_target
from study.report.comparisons import at_rates, rates
from study.report.document import Section, Table, filled
from study.report.page import page
from study.report.sections import sections_of
from study.report.suite import suites_of
from study.report.verdict import verdict
from study.runs import Run, read_run
from tests.study.folders import configuration, drawn_ranks, objective, write_predictions, write_run


def made(folder: Path, name: str, config: dict[str, Any], ranks: list[int] | None, *hits: float) -> Run:
    return read_run(write_run(folder / name, config, ranks, hits or (0.3, 0.4)), name)


def tables(sections: list[Section]) -> dict[str, Table]:
    return {
        table.name.removesuffix("-movielens100k-re-drawn"): table
        for section in sections
        for table in section.tables
    }


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """DMPO and DynamicPO with one rate and one seed."""
    folder = tmp_path_factory.mktemp("single")
    return [
        made(folder, "dmpo", configuration(objective()), drawn_ranks(0.3, 1)),
        made(folder, "dynamicpo", configuration(objective("DMPO", "DynamicPO")), drawn_ranks(0.5, 2)),
    ]


def test_one_rate_and_one_seed_are_not_called_chosen_means_or_a_family(single: list[Run]) -> None:
    cells = cells_of(single)[0]
    sections = sections_of(cells)
    text = page(sections, "T", verdict(cells), [], [])
    claims = ("chose", "chosen", "from two seeds on", "means over seeds, ", "by seed and", "Holm adjusts")
    assert [claim for claim in claims if claim in text] == []
    assert "Each line is of one seed." in text
    assert tables(sections)["paired"].note == (
        "Differences are paired by test example, of one seed. p is two-sided and of the same t as the interval. "
        "95 % intervals account for users alone: one seed says nothing about others."
    )
    assert tables(sections)["headline"].note == (
        "Preference runs with K = 3. 95 % intervals account for users alone: one seed says nothing about others."
    )


def test_what_no_run_gives_is_neither_claimed_nor_a_column(single: list[Run]) -> None:
    """Without SFT there is no difference to it; without the alarm no start of training."""
    found = tables(sections_of(cells_of(single)[0]))
    assert filled(found["headline"]).head == ("", "HR@1", "this − base", "seeds", "lr", "commit")
    assert "first change" not in filled(found["falls"]).head
    assert found["falls"].note == (
        "HR@1 on validation, means over seeds; the fall from each seed's own best to the end of training."
    )
    base_alone = sections_of(cells_of(single[:1])[0])
    assert base_alone[0].text == "Test HR@1 at one K."
    assert "different quantities" not in tables(base_alone)["comparison"].note


def test_where_some_rates_were_chosen_it_is_said_of_them_alone(tmp_path: Path, single: list[Run]) -> None:
    other = made(tmp_path, "rate", configuration(objective(), rate=3e-3), None, 0.1, 0.2)
    dmpo, dynamic = arms_of(cells_of([*single, other])[0])
    assert at_rates([dmpo]) == "at the learning rate that validation chose"
    assert at_rates([dmpo, dynamic]) == "at the learning rate that validation chose where several were tried"
    assert at_rates([dynamic]) == ""


def test_rates_without_validation_are_no_choice(tmp_path: Path) -> None:
    for place, rate in enumerate((1e-3, 3e-3)):
        folder = write_run(
            tmp_path / str(place), configuration(objective(), rate=rate), drawn_ranks(0.4, place)
        )
        lines = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
        (folder / "metrics.csv").write_text("\n".join(",".join(line[:2]) for line in lines) + "\n")
    arms = arms_of(cells_of([read_run(tmp_path / name, name) for name in "01"])[0])
    (suite,) = suites_of(arms)
    assert (at_rates(arms), rates(suite)) == ("", None)


def test_rates_of_different_seeds_are_told_as_such(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, f"{seed}", configuration(objective(), rate=rate, seed=seed), None)
        for seed, rate in enumerate((1e-3, 3e-3))
    ]
    (suite,) = suites_of(arms_of(cells_of(runs)[0]))
    found = rates(suite)
    assert found is not None
    assert [row[4] for row in found.rows] == ["1", "1"]
    assert (
        "mean over the seeds that all rates were tried with, or over its own where there are none"
        in found.note
    )


def test_intervals_of_shares_and_their_differences_end_where_these_do(tmp_path: Path) -> None:
    """Two users: t of one degree of freedom is 12.7, so an interval of any spread is wider than all shares."""
    runs = [
        made(tmp_path, "a", configuration(objective()), [1, 5, 5, 5]),
        made(tmp_path, "b", configuration(objective("DMPO", "DynamicPO")), [1, 1, 1, 5]),
    ]
    for run in runs:
        assert run.ranks is not None
        run.ranks.users[:] = ["u", "u", "v", "v"]
    (first, second), _ = cells_of(runs)
    assert (first.estimate().low, first.estimate().high) == (0, 1)
    (suite,) = suites_of(arms_of([first, second]))
    found = tables(sections_of([first, second]))
    assert {row[4] for row in found["comparison"].rows} == {".250 [.000, 1.000]", ".750 [.000, 1.000]"}
    assert suite.title == "MovieLens100k, candidates re-drawn"
    swapped = made(tmp_path, "c", configuration(objective("SDPO")), [5, 5, 5, 5])
    assert swapped.ranks is not None
    swapped.ranks.users[:] = ["u", "u", "v", "v"]
    (third,), _ = cells_of([swapped])
    over = paired_by_target(third, first)
    assert over is not None
    assert (over.low, over.high) == (-1, 1)
    assert math.isnan(third.estimate().low)


def test_ids_of_one_user_are_not_compared(tmp_path: Path) -> None:
    """Both have id 101 alone, of one user: there is no interval, and no traceback."""
    runs = []
    for name, first in (("a", 100), ("b", 101)):
        folder = write_run(tmp_path / name, configuration(objective()), None)
        write_predictions(folder / "predictions.parquet", [1, 2])
        run = read_run(folder, name)
        assert run.ranks is not None
        runs.append(replace(run, ranks=replace(run.ranks, ids=np.array([first, first + 1]))))
    (one,), _ = cells_of(runs[:1])
    (other,), _ = cells_of(runs[1:])
    assert paired_by_target(one, other) is None


def test_a_line_of_one_point_is_no_chart(tmp_path: Path, single: list[Run]) -> None:
    """S-DPO has one validation; its loss, which has a course, comes behind the pairs of others."""
    folder = write_run(tmp_path / "one", configuration(objective("SDPO")), None, finished={"seconds": 1.0})
    lines = (folder / "metrics.csv").read_text().splitlines()
    (folder / "metrics.csv").write_text("\n".join(lines[:3]) + "\n")
    alone = read_run(folder, "one")
    assert len(alone.curves["val/hit_ratio@1"].steps) == 1
    sections = sections_of(cells_of([alone, *single])[0])
    (curves,) = [
        figure for section in sections for figure in section.figures if figure.name.startswith("learning")
    ]
    assert [panel.title for panel in curves.panels] == [
        "DMPO: train loss",
        "DMPO: validation HR@1",
        "DynamicPO on DMPO: train loss",
        "DynamicPO on DMPO: validation HR@1",
        "S-DPO: train loss",
    ]


def test_methods_of_one_name_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    goals = [objective(), objective()]
    goals[1]["init_args"]["beta"] = 0.5
    runs = [made(tmp_path, f"{place}", configuration(goal), [1, 2]) for place, goal in enumerate(goals)]
    (suite,) = suites_of(arms_of(cells_of(runs)[0]))
    assert [line.label for line in suite.lines] == ["DMPO, β = 0.5", "DMPO, β = 1"]
