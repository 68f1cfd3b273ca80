"""Gradient norms against means made by hand."""

from pathlib import Path

from study.report.cells import arms_of, cells_of
from study.report.norms import norms
from study.report.suite import suites_of
from study.runs import Run, read_run
from tests.study.folders import configuration, objective, write_run


def measured(folder: Path, seed: int, *pairs: tuple[float, float]) -> Run:
    """A run with norms of S and B, measured at step 0 and every hundredth."""
    folder = write_run(
        folder / str(seed), configuration(objective(), 3, seed=seed), None, finished={"seconds": 1.0}
    )
    lines = ["step,train/loss,gradient/easy_norm,gradient/boundary_norm"]
    lines += [f"{100 * place},.5,{easy},{boundary}" for place, (easy, boundary) in enumerate(pairs)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return read_run(folder, folder.name)


def test_the_first_and_the_last_measurement_are_told(tmp_path: Path) -> None:
    runs = [
        measured(tmp_path, 0, (2.0, 0.5), (9.0, 9.0), (1.0, 1.0)),
        measured(tmp_path, 1, (4.0, 0.7), (9.0, 9.0), (0.5, 3.0)),
    ]
    (suite,) = suites_of(arms_of(cells_of(runs)[0]))
    found = norms(suite)
    assert found is not None
    assert found.rows == (("DMPO", "3", "0.001", "2", "3.00", ".60", ".75", "2.00"),)


def test_runs_without_the_callback_have_no_table(tmp_path: Path) -> None:
    plain = read_run(write_run(tmp_path / "run", configuration(objective()), None), "run")
    (suite,) = suites_of(arms_of(cells_of([plain])[0]))
    assert norms(suite) is None
