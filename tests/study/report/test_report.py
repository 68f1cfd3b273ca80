"""`python -m study.report` as it is called."""

from pathlib import Path

import pytest

from study.report.__main__ import main
from study.runs import read_run
from tests.forked import run_python
from tests.study.folders import configuration, objective, write_run
from tests.study.report.test_page import Page
from tests.study.studies import write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_study(tmp_path_factory.mktemp("made") / "study")
    broken = root / "<b>broken"
    broken.mkdir()
    (broken / "config.yaml").write_text("seed_everything: [")
    return root


@pytest.fixture(scope="module")
def written(study: Path) -> Path:
    """What the command writes, and the results that it keeps."""
    arguments = [str(study), "--to", str(study.parent / "report"), "--store", str(study.parent / "results")]
    done = run_python("-m", "study.report", *arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"left out: {study}/<b>broken/config.yaml cannot be read")
    assert done.stdout.startswith(f"{len(list(study.iterdir())) - 1} runs: ")
    return study.parent


def test_it_writes_a_page_tables_and_a_png_a_figure(written: Path) -> None:
    text = (written / "report/index.html").read_text()
    shown = "".join(data for _, data in Page(text).texts)
    assert "<b>broken" in shown
    assert "<b>broken" not in text
    names = sorted(file.name.split("-movielens")[0] for file in (written / "report").glob("*.png"))
    assert names == ["gamma-alpha", "hit-ratio", "learning-curves", "win-rate"]
    assert "## comparison-movielens100k-re-drawn" in (written / "report/tables.md").read_text()


def test_kept_results_give_the_same_report_and_fill_a_page(written: Path, tmp_path: Path) -> None:
    document = tmp_path / "results.md"
    document.write_text("Before.\n\n<!-- table: leak -->\nold\n<!-- end -->\n\nAfter.\n")
    to, kept = tmp_path / "report", tmp_path / "kept"
    arguments = [str(written / "results"), "--to", str(to), "--store", str(kept), "--fill", str(document)]
    assert main(arguments) == 0
    for file in (written / "results").iterdir():
        assert (kept / file.name).read_bytes() == file.read_bytes()
    for file in (written / "report").iterdir():
        first, second = file.read_bytes(), (to / file.name).read_bytes()
        if file.name == "index.html":  # results hold no broken folders
            first, second = (text.split(b"<nav")[1] for text in (first, second))
        assert first == second, file.name
    text = document.read_text()
    assert text.startswith("Before.\n\n<!-- table: leak -->\n| data | method |")
    assert text.endswith("<!-- end -->\n\nAfter.\n")
    assert "old" not in text


@pytest.mark.parametrize("place", ["nowhere", "empty", "broken"])
def test_nothing_to_read_is_an_error_of_one_line(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken/run").mkdir(parents=True)
    (tmp_path / "broken/run/config.yaml").write_text("[")
    assert main([str(tmp_path / place), "--to", str(tmp_path / "report")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_a_place_that_cannot_be_written_to_is_an_error_of_one_line(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main([str(written / "results"), "--to", str(tmp_path / "file")]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path / 'file'}: File exists: name another place to write to\n"
    )


def test_predictions_of_one_user_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs/one", configuration(objective()), [1])
    assert main([str(tmp_path / "runs"), "--to", str(tmp_path / "report")]) == 2
    assert "predictions of one user" in capsys.readouterr().err


def test_two_places_with_runs_of_one_name_cannot_be_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, seed in (("a", 0), ("b", 1)):
        write_run(tmp_path / place / "runs/one", configuration(objective(), seed=seed), [1, 2])
    places = [str(tmp_path / place / "runs") for place in ("a", "b")]
    assert main([*places, "--to", str(tmp_path / "report"), "--store", str(tmp_path / "kept")]) == 2
    assert "two runs are called runs/one" in capsys.readouterr().err


def test_a_run_with_a_loss_that_is_no_number_is_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs/one", configuration(objective()), [1, 2])
    text = (folder / "metrics.csv").read_text().replace("29,0.3333333333333333", "29,nan")
    (folder / "metrics.csv").write_text(text)
    assert "nan" in str(read_run(folder, "one").curves["train/loss"].values)
    assert main([str(tmp_path / "runs"), "--to", str(tmp_path / "report")]) == 0
