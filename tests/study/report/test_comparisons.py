"""The tables say what the runs' files say, computed here from the files by another route."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from study.collect import collect
from study.report.cells import cells_of
from study.report.document import Section, Table
from study.report.sections import sections_of
from tests.study.folders import USERS, configuration, drawn_ranks, objective, write_run
from tests.study.studies import SEEDS, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def sections(study: Path) -> list[Section]:
    return sections_of(cells_of(collect([study])[0])[0])


def table(sections: list[Section], name: str) -> Table:
    return {table.name: table for section in sections for table in section.tables}[name]


def row(found: Table, *start: str) -> dict[str, str]:
    (cells,) = [cells for cells in found.rows if cells[: len(start)] == start]
    return dict(zip(found.head, cells, strict=True))


def ranks(study: Path, name: str) -> np.ndarray[Any, Any]:
    return np.stack([pq.read_table(study / f"{name}-{seed}/predictions.parquet")["rank"] for seed in SEEDS])


def numbers(text: str) -> list[float]:
    """Numbers of a cell; those before a point are left out where they are 0."""
    return [float(part.replace("−", "-")) for part in re.findall(r"[−+-]?\d*\.\d+|\d+", text)]


def user_error(values: np.ndarray[Any, Any]) -> float:
    """Standard error over users who all have equally many examples: that of a mean of their means."""
    means = [values[user::USERS].mean() for user in range(USERS)]
    return float(np.std(means, ddof=1) / np.sqrt(USERS))


def test_the_comparison(study: Path, sections: list[Section]) -> None:
    found = table(sections, "comparison-movielens100k-re-drawn")
    shown = row(found, "DynamicPO on DMPO", "15")
    ours = ranks(study, "dynamicpo-15")
    hits = ours == 1
    assert numbers(shown["HR@1"])[0] == pytest.approx(hits.mean(), abs=5.1e-4)
    assert numbers(shown["MRR"])[0] == pytest.approx((1 / ours).mean(), abs=5.1e-4)
    assert (shown["lr"], shown["seeds"], shown["seconds"], shown["commit"]) == ("0.001", "2", "12", "0a1b2c3")
    assert shown["train loss"] == ".250"
    mean, low, high = numbers(shown["HR@1"])
    assert mean - low == pytest.approx(high - mean, abs=2e-3)
    over_seeds = np.std(hits.mean(axis=1), ddof=1) / np.sqrt(2)
    error = np.hypot(user_error(hits.mean(axis=0)), over_seeds)
    assert high - mean > 1.96 * error - 1e-3
    assert row(found, "popularity")["K"] == ""
    assert "24 test examples of 8 users" in found.note
    assert {cells[0] for cells in found.rows} == {
        "popularity", "SFT", "DMPO", "S-DPO", "DMPO, nearest 3", "DynamicPO on DMPO", "DynamicPO on S-DPO",
        "DynamicPO on DMPO, γ = 6, α = 0.5",
    }  # fmt: skip


def test_the_headline_has_one_k(study: Path, sections: list[Section]) -> None:
    """Two K were run equally often: the larger one is told."""
    found = table(sections, "headline-movielens100k-re-drawn")
    labels = ["popularity", "SFT", "DMPO", "DynamicPO on DMPO", "S-DPO", "DynamicPO on S-DPO"]
    assert [cells[0] for cells in found.rows] == labels
    assert "K = 15" in found.note
    base, own = (ranks(study, f"{name}-15") == 1 for name in ("sdpo", "dynamicpo-sdpo"))
    shown = row(found, "DynamicPO on S-DPO")
    assert numbers(shown["HR@1"])[0] == pytest.approx(own.mean(), abs=5.1e-4)
    assert numbers(shown["this − base"])[0] == pytest.approx(own.mean() - base.mean(), abs=5.1e-4)
    assert row(found, "S-DPO")["this − base"] == ""
    start = ranks(study, "sft") == 1
    assert numbers(shown["this − SFT"])[0] == pytest.approx(own.mean() - start.mean(), abs=5.1e-4)
    assert row(found, "SFT")["this − SFT"] == ""


def test_paired_differences(study: Path, sections: list[Section]) -> None:
    found = table(sections, "paired-movielens100k-re-drawn")
    assert [cells[:2] for cells in found.rows] == [
        ("DynamicPO on DMPO", "3"),
        ("DynamicPO on DMPO", "15"),
        ("DynamicPO on S-DPO", "3"),
        ("DynamicPO on S-DPO", "15"),
    ]
    for base, own, label in (("dmpo", "dynamicpo", "DMPO"), ("sdpo", "dynamicpo-sdpo", "S-DPO")):
        for negatives in ("3", "15"):
            shown = row(found, f"DynamicPO on {label}", negatives)
            first, second = (ranks(study, f"{name}-{negatives}") == 1 for name in (base, own))
            difference = second.mean() - first.mean()
            assert numbers(shown["this − base"])[0] == pytest.approx(difference, abs=5.1e-4)
            assert numbers(shown["base"]) == [pytest.approx(first.mean(), abs=5.1e-4)]
            assert numbers(shown["this"]) == [pytest.approx(second.mean(), abs=5.1e-4)]
    p = [numbers(cells[-2])[0] for cells in found.rows]
    adjusted = [numbers(cells[-1])[0] for cells in found.rows]
    assert min(adjusted) == pytest.approx(min(1, 4 * min(p)), abs=3e-3)
    assert all(before <= after + 1e-9 for before, after in zip(p, adjusted, strict=True))


def test_more_negatives_are_compared_with_the_fewest(study: Path, sections: list[Section]) -> None:
    found = table(sections, "negatives-movielens100k-re-drawn")
    assert {cells[:2] for cells in found.rows} == {
        (label, "15 − 3") for label in ("DMPO", "S-DPO", "DynamicPO on DMPO", "DynamicPO on S-DPO")
    }
    fewest, most = ((ranks(study, f"dmpo-{negatives}") == 1).mean() for negatives in (3, 15))
    shown = row(found, "DMPO", "15 − 3")
    assert numbers(shown["fewest"]) == [pytest.approx(fewest, abs=5.1e-4)]
    assert numbers(shown["this − fewest"])[0] == pytest.approx(most - fewest, abs=5.1e-4)


def test_gains_are_differences_of_differences(study: Path, sections: list[Section]) -> None:
    found = table(sections, "gains-movielens100k-re-drawn")
    assert [cells[:2] for cells in found.rows] == [
        ("DynamicPO on DMPO", "15 − 3"),
        ("DynamicPO on S-DPO", "15 − 3"),
    ]
    at_few, at_many = (
        (ranks(study, f"dynamicpo-{negatives}") == 1).astype(int) - (ranks(study, f"dmpo-{negatives}") == 1)
        for negatives in (3, 15)
    )
    mean, low, high = numbers(row(found, "DynamicPO on DMPO")["gain − gain at the fewest"])
    assert mean == pytest.approx((at_many - at_few).mean(), abs=5.1e-4)
    assert (low + high) / 2 == pytest.approx(mean, abs=2e-3)


def test_methods_are_compared_at_one_rate_too(tmp_path: Path) -> None:
    """DMPO does best at .001 and DynamicPO at .003; then both at each of these, and not at .01, which DMPO lacks."""
    hits = {
        ("DMPO", 1e-3): 0.5, ("DMPO", 3e-3): 0.3, ("DMPO", 1e-2): 0.1,
        ("DynamicPO", 1e-3): 0.2, ("DynamicPO", 3e-3): 0.4, ("DynamicPO", 1e-2): 0.1,
    }  # fmt: skip
    for place, ((name, rate), hit) in enumerate(hits.items()):
        goal = objective("DMPO", "DynamicPO" if name == "DynamicPO" else None)
        tested = None if rate == 1e-2 and name == "DMPO" else drawn_ranks(hit, place)
        write_run(tmp_path / f"{name}-{rate}", configuration(goal, 3, rate), tested, (hit, hit))
    found = table(sections_of(cells_of(collect([tmp_path])[0])[0]), "paired-movielens100k-re-drawn")
    dmpo, dynamic = (
        {
            rate: (
                pq.read_table(tmp_path / f"{name}-{rate}/predictions.parquet")["rank"].to_numpy() == 1
            ).mean()
            for rate in (1e-3, 3e-3)
        }
        for name in ("DMPO", "DynamicPO")
    )
    expected = {
        "DynamicPO on DMPO": dynamic[3e-3] - dmpo[1e-3],
        "DynamicPO on DMPO, both at lr 0.001": dynamic[1e-3] - dmpo[1e-3],
        "DynamicPO on DMPO, both at lr 0.003": dynamic[3e-3] - dmpo[3e-3],
    }
    shown = {cells[0]: numbers(cells[5])[0] for cells in found.rows}
    assert shown == pytest.approx(expected, abs=5.1e-4)


def test_controls_stand_beside_the_papers_rule(sections: list[Section]) -> None:
    found = table(sections, "controls-movielens100k-re-drawn")
    assert [cells[:2] for cells in found.rows] == [("DynamicPO on DMPO", "15"), ("DMPO, nearest 3", "15")]


def test_controls_are_compared_with_dynamicpo(study: Path, sections: list[Section]) -> None:
    found = table(sections, "controls-dynamicpo-movielens100k-re-drawn")
    assert [cells[:2] for cells in found.rows] == [("DMPO, nearest 3", "15")]
    shown = row(found, "DMPO, nearest 3")
    seeds = int(shown["seeds"])
    own, control = (ranks(study, name)[:seeds] == 1 for name in ("dynamicpo-15", "nearest"))
    assert numbers(shown["this − DynamicPO"])[0] == pytest.approx(control.mean() - own.mean(), abs=5.1e-4)


def test_gamma(sections: list[Section]) -> None:
    found = table(sections, "gamma-alpha-movielens100k-re-drawn")
    assert ("DynamicPO on DMPO, γ = 6, α = 0.5", "15") in [cells[:2] for cells in found.rows]


def test_rates_are_told_with_the_chosen_one(sections: list[Section]) -> None:
    found = table(sections, "rates-movielens100k-re-drawn")
    assert found.rows == (
        ("DMPO", "15", "0.001", ".4000", "1", "chosen"),
        ("DMPO", "15", "0.003", ".2000", "1", ""),
    )


def test_falls_are_told_at_every_rate(sections: list[Section]) -> None:
    """The last run falls from .2 to .1 on validation while its loss falls from 1 to .25."""
    found = table(sections, "falls-movielens100k-re-drawn")
    shown = [cells for cells in found.rows if cells[:3] == ("DMPO", "15", "0.003")]
    assert shown == [("DMPO", "15", "0.003", "1", "1.000", ".250", ".200", ".100", "", ".100", "")]


def test_the_largest_fall_counts_what_training_started_from(tmp_path: Path) -> None:
    """Seed 0 falls by .10 and .02, seed 1 by nothing: .05 in the mean, and at the first validation too."""
    for seed, changes in enumerate(((-0.1, -0.02), (0.0, 0.02))):
        folder = write_run(tmp_path / f"run-{seed}", configuration(objective(), seed=seed), None)
        lines = (folder / "metrics.csv").read_text().splitlines()
        logged = iter(changes)
        added = [f"{next(logged)}" if line.split(",")[2] else "" for line in lines[1:]]
        told = ["alarm/hit_ratio@1_change", *added]
        text = "\n".join(",".join(pair) for pair in zip(lines, told, strict=True))
        (folder / "metrics.csv").write_text(text + "\n")
    found = table(sections_of(cells_of(collect([tmp_path])[0])[0]), "falls-movielens100k-re-drawn")
    shown = row(found, "DMPO", "3")
    assert (shown["first change"], shown["largest fall"]) == ("−.050", ".050")


def test_the_leak_shows_a_method_on_both_lists(study: Path, sections: list[Section]) -> None:
    found = table(sections, "leak")
    shown = row(found, "MovieLens100k", "SFT", "", "as published")
    assert numbers(shown["HR@1"])[0] == pytest.approx((ranks(study, "published") == 1).mean(), abs=5.1e-4)
    published, redrawn = (ranks(study, name) == 1 for name in ("published", "sft"))
    assert numbers(shown["this − re-drawn"])[0] == pytest.approx(
        published.mean() - redrawn.mean(), abs=5.1e-4
    )
    own = row(found, "MovieLens100k", "SFT", "", "re-drawn")
    assert (own["seeds"], own["this − re-drawn"]) == ("2", "")


def test_every_run_is_listed_with_its_command(study: Path, sections: list[Section]) -> None:
    found = table(sections, "runs")
    assert len(found.rows) == len(list(study.iterdir()))
    shown = row(found, f"{study.name}/dmpo-3-1")
    assert (shown["seed"], shown["commit"], shown["command"]) == ("1", "0a1b2c3", "python train.py fit")


def test_figures_hold_what_the_tables_say(study: Path, sections: list[Section]) -> None:
    figures = {
        figure.name.split("-movielens")[0]: figure for section in sections for figure in section.figures
    }
    assert {"learning-curves", "hit-ratio", "win-rate", "gamma-alpha"} <= set(figures)
    dmpo = next(panel for panel in figures["hit-ratio"].panels if panel.title == "DMPO")
    assert dmpo.ticks == (3, 15)
    assert [series.label for series in dmpo.series] == ["DMPO", "DynamicPO on DMPO"]
    for series, name in zip(dmpo.series, ("dmpo", "dynamicpo"), strict=True):
        expected = [(ranks(study, f"{name}-{negatives}") == 1).mean() for negatives in (3, 15)]
        assert series.y == pytest.approx(expected)
        assert all(low < y < high for low, y, high in zip(series.low, series.y, series.high, strict=True))
    loss = figures["learning-curves"].panels[0]
    assert (loss.title, loss.series[0].label) == ("DMPO: train loss", "K = 3")
    assert loss.series[0].x == (10, 20, 30, 40)
    assert loss.series[0].y == (1, 0.5, 0.33333, 0.25)
    looks = {
        (series.label, look)
        for panel in figures["learning-curves"].panels
        for series, look in zip(panel.series, panel.looks, strict=True)
    }
    assert looks == {("K = 3", 0), ("K = 15", 1)}
    gamma, *rest = figures["gamma-alpha"].panels
    assert (gamma.ticks, rest) == ((2, 6), [])
    assert [series.label for series in gamma.series] == ["DynamicPO on DMPO, K = 15"]


def test_a_section_without_runs_is_left_out(tmp_path: Path, study: Path) -> None:
    (tmp_path / "one").symlink_to(study / "sft-0")
    runs, _ = collect([tmp_path / "one"])
    assert [section.title for section in sections_of(cells_of(runs)[0])] == ["Comparison", "Runs"]
