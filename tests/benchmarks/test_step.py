"""The command's JSON has the promised shape, and ways that disagree are refused; no time is asserted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import agreement, measure, step
from benchmarks.measure import Measurement, Timing, measure_apart
from benchmarks.table import Row, bars, table
from benchmarks.workload import Workload

NAMES = [
    "ours_s",
    "ours_cached_s",
    "usual_s",
    "speedup",
    "speedup_cached",
    "ours_mb",
    "usual_mb",
    "memory_ratio",
]


def arguments(tiny_folder: Path, tmp_path: Path) -> list[str]:
    settings = ["--json", "--model", "quickstart", "--k", "1,3", "--batch_size", "2", "--steps", "1"]
    return [*settings, "--seconds", "0", "--data", str(tiny_folder), "--cache_dir", str(tmp_path)]


def test_json_holds_every_number(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(step, "measure_apart", measure.measure)
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda name: None)
    step.main(arguments(tiny_folder, tmp_path))
    printed = capsys.readouterr()
    results = json.loads(printed.out)
    assert list(results) == ["quickstart"]
    assert list(results["quickstart"]) == ["1", "3"]
    for row in results["quickstart"].values():
        assert list(row) == NAMES
        assert all(value > 0 for value in row.values())
        assert row["speedup"] == pytest.approx(row["usual_s"] / row["ours_s"])
        assert row["memory_ratio"] == pytest.approx(row["ours_mb"] / row["usual_mb"])
    assert "tokens/s" in printed.err


def test_out_of_memory_is_null(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def short_of_memory(way: str, workload: Workload, timing: Timing) -> Measurement | None:
        return None if way == "usual" else measure.measure(way, workload, timing)

    monkeypatch.setattr(step, "measure_apart", short_of_memory)
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda name: None)
    step.main(arguments(tiny_folder, tmp_path))
    row = json.loads(capsys.readouterr().out)["quickstart"]["3"]
    assert [row[name] for name in NAMES[2:5]] == [None] * 3
    assert row["ours_s"] > 0
    assert row["memory_ratio"] is None


@pytest.mark.slow
def test_a_fresh_process_finds_the_same_loss(tiny_folder: Path, tmp_path: Path) -> None:
    workload = Workload("quickstart", 3, 2, str(tmp_path), str(tiny_folder))
    timing = Timing(warmup=0, steps=1, seconds=0)
    here = measure.measure("ours", workload, timing)
    apart = measure_apart("ours", workload, timing)
    assert apart is not None
    assert agreement.require_agreement("a fresh process", here, apart)


def example(loss: float = 0.6931472) -> Measurement:
    """One negative, both log-ratios 0: DMPO gives log 2 = 0.693147; so does DynamicPO, whatever β is."""
    return Measurement(2.0, 1000.0, 100, loss, 5.0, [[-1.0, -2.0]], [[0.0, 0.0]], [[True]], 0.001)


def test_disagreement_is_refused() -> None:
    assert agreement.require_agreement("it", example(), example())
    assert agreement.require_agreement("TRL", example(), replace(example(), selected=None)) is False
    with pytest.raises(agreement.Disagreement, match="loss"):
        agreement.require_agreement("it", example(), example(0.6934))
    with pytest.raises(agreement.Disagreement, match="loss"):
        agreement.require_agreement("it", example(), example(float("nan")))
    with pytest.raises(agreement.Disagreement, match="gradient"):
        agreement.require_agreement("it", example(), replace(example(), gradient_norm=5.1))


@pytest.mark.slow
def test_a_failure_is_not_out_of_memory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not_a_way"):
        measure_apart("not_a_way", Workload("quickstart", 1, 2, str(tmp_path)), Timing())


def test_tables_by_hand() -> None:
    """Ours 2 s at K = 1 and 3 s at K = 15 (1.5 ×), tokens 100 and 150; the usual way 60 s: 20 ×; 1000 of 5000 MB."""
    fifteen = replace(example(), seconds=3.0, tokens=150)
    usual = replace(example(), seconds=60.0, peak_mb=5000.0, tokens=1600)
    rows = {1: Row(example(), example(), None, usual), 15: Row(fifteen, example(), usual)}
    assert "20.0 ×" in table(rows)
    text = bars(rows)
    for name, value in (
        ("usual / ours", 20),
        ("cached", 30),
        ("memory", 0.2),
        ("time", 1.5),
        ("over tokens", 1),
        ("TRL / ours", 30),
        ("selection", 0.0003),
    ):
        assert any(name in line and f" {value:.4f} " in line for line in text.splitlines()), name
