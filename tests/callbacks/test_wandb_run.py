"""One W&B run over several starts, read back from its files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from hypothesis import given, settings
from hypothesis import strategies as st

from callbacks.wandb_run import WandbRun, exit_status
from callbacks.wandb_segments import STEP, logged_lines
from tests.cli import config, run
from tests.wandb_files import inspect, records, segments

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


def summary(segment: Path) -> dict[str, str]:
    """The lines of the summary, as W&B's own reader shows them, in its order."""
    shown = inspect("--summary", str(segment)).partition("\nsummary\n")[2].partition("\n\n")[0]
    return dict(line.split(maxsplit=1) for line in shown.splitlines())


def test_headlines_stand_first_and_no_histogram_is_in_the_summary(tmp_path: Path) -> None:
    log = started(tmp_path)
    metrics = {
        "alarm/mrr_change": -0.1,
        "boundary/proportion": 0.5,
        "val/hit_ratio@1": 0.25,
        "train/loss": 2.0,
    }
    histogram = wandb.Histogram(np_histogram=([1, 2], [0.0, 0.5, 1.0]))
    log.log_metrics({**metrics, "beta/histogram": histogram}, step=3)
    log.log_metrics({"val/hit_ratio@1": 0.125, "train/loss": 1.0, "val/mrr": 0.5, "val/ndcg@5": 0.4}, step=5)
    log.save()
    _end_service()
    (segment,) = segments(tmp_path)
    shown = summary(segment)
    assert "beta/histogram" not in shown
    names = [name for name in shown if not name.startswith("_")]
    assert names[:6] == ["HR@1.last", "HR@1.max", "Loss.last", "Loss.min", "MRR.last", "MRR.max"]
    assert (shown["HR@1.max"], shown["HR@1.last"], shown["Loss.min"]) == ("0.25", "0.125", "1")
    first, second = logged_lines(tmp_path, RUN_ID)
    assert (first["HR@1"], first["Loss"], "MRR" in first) == (0.25, 2.0, False)
    assert (second["val/mrr"], second["MRR"]) == (0.5, 0.5)


def test_what_is_said_of_the_mode_is_what_became_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin = wandb.init

    def init(**settings: Any) -> Any:
        if settings["mode"] == "online":
            raise wandb.errors.UsageError("no API key configured")
        return begin(**settings)

    monkeypatch.setattr(wandb, "init", init)
    log = WandbRun(str(tmp_path), RUN_ID, "online", "project", "name")
    with caplog.at_level("INFO"), pytest.warns(UserWarning, match="the run is kept offline"):
        log.log_hyperparams({"a": 1.0})
    said = [record.getMessage() for record in caplog.records if "W&B run" in record.getMessage()]
    assert said == [f"W&B run {RUN_ID}, offline: wandb leet {tmp_path}/wandb"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (RuntimeError("crash"), 1),
        (SystemExit(), 0),
        (SystemExit(143), 143),
        (SystemExit("a message"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_status_of_a_process(error: BaseException | None, status: int) -> None:
    assert exit_status(error) == status


def test_a_crash_is_not_finished(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    settings["wandb"]["mode"] = "offline"
    settings["trainer"]["callbacks"] = [{"class_path": "tests.cli.Crash", "init_args": {"after_step": 1}}]
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "run", settings)
    (segment,) = segments(Path("outputs/tiny/run"))
    assert "exit code 1" in inspect("--summary", str(segment))
