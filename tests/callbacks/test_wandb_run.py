"""One W&B run over several starts, read back from its files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from hypothesis import given, settings
from hypothesis import strategies as st

from callbacks.wandb_run import WandbRun
from callbacks.wandb_segments import STEP, logged_lines
from tests.wandb_files import records

RUN_ID = "0a1b2c3d"


def _end_service() -> None:
    """In earnest every start is a process, with a service of its own."""
    wandb.finish()
    wandb.teardown()


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    yield
    _end_service()


def started(folder: Path, training: bool = True) -> WandbRun:
    _end_service()
    return WandbRun(str(folder), RUN_ID, "offline", "project", "name", training)


def ended(folder: Path, date: str) -> None:
    """Ends a start and dates it back: two starts in one second would share a folder."""
    _end_service()
    *_, segment = sorted(folder.glob("wandb/offline-run-*"))
    segment.rename(segment.with_name(f"offline-run-{date}-{RUN_ID}"))


def many(step: int) -> dict[str, float]:
    """About 1,500 bytes a line, so that lines lie across the blocks of the file."""
    return {f"metric/{number}": step + number / 7 for number in range(40)}


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    log = started(folder)
    for step in range(120):
        log.log_metrics(many(step), step=step)
    log.finalize("success")
    _end_service()
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    return path


def test_every_line_is_read_back(segment: Path) -> None:
    """Against what was logged, and against W&B's own reader."""
    lines = logged_lines(segment.parents[2], RUN_ID)
    found = [{name: value for name, value in line.items() if not name.startswith("_")} for line in lines]
    assert found == [{**many(step), STEP: step} for step in range(120)]
    assert len(records(segment, "history")) == len(lines)


@settings(max_examples=50, deadline=None)
@given(share=st.floats(0, 1))
def test_a_torn_file_gives_the_lines_before_the_tear(segment: Path, share: float) -> None:
    folder = segment.parents[2].with_name("torn")
    path = folder / "wandb" / segment.parent.name / segment.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(segment.read_bytes()[: int(share * segment.stat().st_size)])
    steps = [line[STEP] for line in logged_lines(folder, RUN_ID)]
    assert steps == list(range(len(steps)))
    assert len(steps) >= int(share * 119) - 25  # a line is about 2 KB, and the rest of the file is not small


def test_a_resume_leaves_out_what_was_logged_and_fills_what_was_lost(tmp_path: Path) -> None:
    first = started(tmp_path)
    for step in (1, 3, 5):
        first.log_metrics({"a": float(step)}, step=step)
    first.save()
    ended(tmp_path, "20000101_000000")
    second = started(tmp_path)
    second.resume([{"step": str(step), "a": str(float(step)), "b": ""} for step in (1, 3, 5, 7)])
    for step in (7, 9):
        second.log_metrics({"a": float(step)}, step=step)
    second.save()
    ended(tmp_path, "20000101_000001")
    third = started(tmp_path)  # killed after step 9, resumed from a checkpoint of step 3
    third.resume([{"step": "1", "a": "1.0"}, {"step": "3", "a": "3.0"}])
    for step in (5, 7, 9, 11):
        third.log_metrics({"a": float(step)}, step=step)
    third.save()
    _end_service()
    lines = logged_lines(tmp_path, RUN_ID)
    assert [(line[STEP], line["a"]) for line in lines] == [(step, step) for step in (1, 3, 5, 7, 9, 11)]


def test_a_result_of_a_test_is_no_point_of_the_curves(tmp_path: Path) -> None:
    log = started(tmp_path, training=False)
    log.log_metrics({"test/mrr": 0.5}, step=12)
    log.save()
    _end_service()
    (line,) = logged_lines(tmp_path, RUN_ID)
    assert line["test/mrr"] == 0.5
    assert STEP not in line


def test_a_service_that_was_started_elsewhere_writes_to_the_runs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a notebook's or a sweep's does; the folder of a run is a relative path as a rule."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    _end_service()
    monkeypatch.chdir(elsewhere)
    wandb.setup()
    monkeypatch.chdir(tmp_path)
    log = WandbRun("run", RUN_ID, "offline", "project", "name")
    log.log_metrics({"a": 1.0}, step=0)
    log.finalize("success")
    _end_service()
    assert [line["a"] for line in logged_lines(tmp_path / "run", RUN_ID)] == [1.0]
