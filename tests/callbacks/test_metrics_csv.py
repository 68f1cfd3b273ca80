import resource
import signal
from pathlib import Path

import pytest

from callbacks import MetricsCSV


def test_metrics_of_a_step_share_a_line_and_columns_grow(tmp_path: Path) -> None:
    log = MetricsCSV(str(tmp_path))
    log.log_metrics({"a": 1.0}, step=0)
    log.log_metrics({"b": 2.0}, step=0)
    log.log_metrics({"a": 3.0}, step=1)
    log.log_metrics({"c": 4.0}, step=2)
    log.save()
    assert (tmp_path / "metrics.csv").read_text().split() == [
        "step,a,b,c",
        "0,1.0,2.0,",
        "1,3.0,,",
        "2,,,4.0",
    ]


def test_a_resume_drops_what_came_after_the_checkpoint_and_goes_on(tmp_path: Path) -> None:
    log = MetricsCSV(str(tmp_path))
    for step in range(5):
        log.log_metrics({"a": float(step)}, step=step)
        if step == 2:
            lines = log.num_lines()
    log.save()
    again = MetricsCSV(str(tmp_path))
    again.keep(lines)
    again.log_metrics({"a": 30.0}, step=3)
    again.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,a", "0,0.0", "1,1.0", "2,2.0", "3,30.0"]


def test_a_line_without_room_waits_and_leaves_no_half(tmp_path: Path) -> None:
    """The file may hold 30 bytes and a few of the next line for a while."""
    log, path = MetricsCSV(str(tmp_path)), tmp_path / "metrics.csv"
    for step in range(3):
        log.log_metrics({"a": float(step)}, step=step)
    before = path.read_bytes()
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, limits[1]))
    try:
        for step in (3, 4):
            with pytest.warns(UserWarning, match=r"metrics.csv cannot be written \(File too large\)"):
                log.log_metrics({"a": float(step)}, step=step)
        assert path.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    log.save()
    assert path.read_text().split() == ["step,a", *(f"{step},{float(step)}" for step in range(5))]


def test_lines_that_are_missing_are_said(tmp_path: Path) -> None:
    log = MetricsCSV(str(tmp_path))
    log.log_metrics({"a": 1.0}, step=0)
    assert log.num_lines() == 1
    with pytest.warns(UserWarning, match="has 1 lines, the checkpoint was written after 2"):
        MetricsCSV(str(tmp_path)).keep(2)
