"""Courses of runs against values by hand."""

from pathlib import Path

import pytest

from study.report.courses import Course, course_of
from tests.study.courses import write_course


def course(folder: Path, hits: list[float], losses: list[float], **more: list[float]) -> Course:
    found = course_of(write_course(folder / "run", hits, losses, **more))
    assert found is not None
    return found


def test_the_best_is_told_with_the_loss_at_it(tmp_path: Path) -> None:
    """Three validations after steps 10, 20 and 30, the second the best."""
    found = course(tmp_path, [0.40, 0.50, 0.44], [0.9, 0.7, 0.2])
    assert (found.best, found.best_step, found.last, found.last_step) == (0.50, 20, 0.44, 30)
    assert found.losses == (0.7, 0.2)
    assert found.fall == pytest.approx(0.06)
    assert (found.falls, found.collapses, found.recovers, found.alarms) == (True, True, False, None)


@pytest.mark.parametrize(
    ("hits", "losses", "falls", "collapses", "recovers"),
    [
        ([0.50, 0.46], [0.9, 0.2], False, False, False),
        ([0.55, 0.50], [0.9, 0.2], True, True, False),
        ([0.55, 0.40], [0.2, 0.9], True, False, False),
        ([0.50, 0.44, 0.52], [0.9, 0.5, 0.2], False, False, True),
        ([0.50, 0.44, 0.49], [0.9, 0.5, 0.2], False, False, True),
        ([0.40, 0.50], [0.9, 0.2], False, False, False),
    ],
)
def test_what_is_a_fall_and_what_a_collapse(
    tmp_path: Path, hits: list[float], losses: list[float], falls: bool, collapses: bool, recovers: bool
) -> None:
    found = course(tmp_path, hits, losses)
    assert (found.falls, found.collapses, found.recovers) == (falls, collapses, recovers)


def test_what_training_started_from_counts(tmp_path: Path) -> None:
    """HR@1 of .42 at the first validation is .10 below the start, which had .52; the loss is the first one logged."""
    found = course(tmp_path, [0.42, 0.46], [0.9, 0.2], changes=[-0.10, -0.06], errors=[0.01, 0.01])
    assert (found.best, found.best_step) == (pytest.approx(0.52), 0)
    assert found.losses == (0.9, 0.2)
    assert found.collapses


def test_a_fall_within_two_standard_errors_is_none(tmp_path: Path) -> None:
    """.06 below the start: more than two errors of .02 and less than two of .04."""
    changes = [0.0, -0.06]
    for name, error, falls in (("a", 0.02, True), ("b", 0.04, False)):
        found = course(tmp_path / name, [0.52, 0.46], [0.9, 0.2], changes=changes, errors=[error, error])
        assert (found.ends_low, found.falls, found.recovers) == (True, falls, False)


def test_the_alarms_rule_is_replayed(tmp_path: Path) -> None:
    """The default rule wants a fall of .02 and four errors: it sounds at the second of three validations."""
    found = course(
        tmp_path, [0.50, 0.42, 0.40], [0.9, 0.5, 0.2], changes=[-0.001, -0.08, -0.10], errors=[0.01] * 3
    )
    assert found.alarms == (20,)


def test_values_that_are_no_numbers_are_passed_over(tmp_path: Path) -> None:
    found = course(tmp_path, [0.50, float("nan"), 0.40], [0.9, 0.5, 0.2])
    assert (found.best, found.last, found.last_step) == (0.50, 0.40, 30)


def test_a_run_without_two_validations_cannot_be_judged(tmp_path: Path) -> None:
    assert course_of(write_course(tmp_path / "one", [0.5], [0.9])) is None
    assert course_of(write_course(tmp_path / "none", [], [0.9])) is None
    started = write_course(tmp_path / "start", [0.4], [0.9], changes=[-0.1], errors=[0.01])
    assert course_of(started) is not None
