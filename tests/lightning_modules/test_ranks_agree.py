"""Two real processes (gloo) with half the batch train what one process with the whole batch trains."""

import csv
from pathlib import Path

import pytest
import torch

from tests.forked import run_python
from tests.lightning_modules.rank_cases import STEPS, Case, cases, data_of, train, write_rows


def metrics(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def require_same(folder: Path, case: Case) -> None:
    one, two = folder / "1" / case.name, folder / "2" / case.name
    alone, first, second = (
        torch.load(path, weights_only=True) for path in (one / "0.pt", two / "0.pt", two / "1.pt")
    )
    for name, weight in alone["end"].items():
        assert torch.equal(first["end"][name], second["end"][name]), f"{case}: the ranks' {name} differ"
        difference = (first["end"][name] - weight).abs().max().item()
        assert difference < 1e-6, f"{case}: {name} differs from one process's by {difference:.1e}"
    moved = max((weight - alone["start"][name]).abs().max().item() for name, weight in alone["end"].items())
    assert moved > 1e-3, f"{case}: nothing was learned"
    expected, found = metrics(one), metrics(two)
    assert [row["step"] for row in expected][-1] == STEPS - 1
    for row, other in zip(expected, found, strict=True):
        assert other == pytest.approx(row, abs=1e-6), case
    if (
        case.rows == "lopsided"
    ):  # all of one rank's negatives violate; of the other's, three-means takes one of two
        assert found[0]["boundary/violation_rate"] == 0.5
        assert found[0]["boundary/proportion"] == 0.75


@pytest.mark.parametrize("which", ["quick", pytest.param("all", marks=pytest.mark.slow)])
def test_two_ranks_end_with_the_weights_and_rates_of_one_process(tmp_path: Path, which: str) -> None:
    """1e-6 in float64 after 20 steps, some with gradients of more batches accumulated; the ranks' bits are equal."""
    write_rows(tmp_path)
    for case in cases(which):
        data_of(case, tmp_path, processes=1).prepare_data()
    arguments = (str(tmp_path), which)
    ended = run_python("-m", "tests.lightning_modules.rank_cases", *arguments, cwd=tmp_path, timeout=1800)
    assert ended.returncode == 0, ended.stderr[-3000:]
    for case in cases(which):
        train(case, tmp_path, processes=1)
        require_same(tmp_path, case)
