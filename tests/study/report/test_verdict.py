"""What a report says first, word for word."""

from pathlib import Path

from study.report.cells import cells_of
from study.report.document import Verdict
from study.report.verdict import verdict
from study.runs import Run, read_run
from tests.study.courses import write_course
from tests.study.folders import configuration, objective, write_run

DMPO = "DMPO (K = 3, lr 0.001, seed 0)"


def judged(*runs: Run) -> Verdict:
    return verdict(cells_of(list(runs))[0])


def run(folder: Path, seed: int, hits: list[float], losses: list[float], **more: list[float]) -> Run:
    return write_course(
        folder / f"{seed}", hits, losses, config=configuration(objective(), seed=seed), **more
    )


def test_a_collapse_is_told_with_its_numbers(tmp_path: Path) -> None:
    found = judged(run(tmp_path, 0, [0.40, 0.50, 0.41], [0.9, 0.7, 0.2]))
    assert found.kind == "collapse"
    assert found.sentence == (
        f"Collapse in {DMPO}, the only preference run: validation HR@1 fell from its best .500 at step 20 to .410 at "
        "step 30 while the training loss fell from .700 to .200."
    )
    assert found.more == ("CollapseAlarm logged nothing in these runs, so that chance is not ruled out.",)
    assert found.table is not None
    assert found.table.rows == (
        ("0", "DMPO", "3", "0.001", "0", ".500 at 20", ".410 at 30", "−.090", ".700 → .200", ""),
    )


def test_of_several_runs_the_largest_fall_is_told_and_the_others_are_counted(tmp_path: Path) -> None:
    """Seeds 0 and 1 collapse, 2 falls while its loss rises, 3 recovers, 4 is fine and 5 has one validation."""
    runs = [
        run(tmp_path, 0, [0.50, 0.44], [0.9, 0.2]),
        run(tmp_path, 1, [0.50, 0.30], [0.9, 0.2]),
        run(tmp_path, 2, [0.50, 0.40], [0.2, 0.9]),
        run(tmp_path, 3, [0.50, 0.40, 0.50], [0.9, 0.5, 0.2]),
        run(tmp_path, 4, [0.50, 0.51], [0.9, 0.2]),
        run(tmp_path, 5, [0.50], [0.9]),
    ]
    found = judged(*runs)
    assert found.sentence.startswith(
        "Collapse in 2 of 5 preference runs, the largest in DMPO (K = 3, lr 0.001, seed 1): validation HR@1 fell from "
        "its best .500 at step 10 to .300 at step 20"
    )
    assert found.more == (
        "By method: DMPO (2 of 5).",
        "One run fell as far while the training loss did not fall.",
        "One run fell as far on the way and recovered.",
        "CollapseAlarm logged nothing in these runs, so that chance is not ruled out.",
        "Not judged: 1 of 6 preference runs logs no training loss or fewer than two validations of HR@1 "
        "(trainer.val_check_interval).",
    )
    assert found.table is not None
    assert [row[4] for row in found.table.rows] == ["1", "2", "0"]


def test_no_collapse_is_told_with_the_largest_fall(tmp_path: Path) -> None:
    found = judged(run(tmp_path, 0, [0.50, 0.48], [0.9, 0.2]), run(tmp_path, 1, [0.50, 0.51], [0.9, 0.2]))
    assert (found.kind, found.table) == ("none", None)
    assert found.sentence == (
        f"No collapse: validation HR@1 ends less than .050 below its best in both preference runs; the largest fall, "
        f"in {DMPO}, is from its best .500 at step 10 to .480 at step 20 while the training loss fell from .900 to "
        ".200."
    )
    best = judged(run(tmp_path / "best", 0, [0.50, 0.52], [0.9, 0.2]))
    assert best.sentence == (
        "No collapse: validation HR@1 is at its best, .520, at the last validation of the only preference run."
    )


def test_a_fall_whose_loss_does_not_fall_is_no_collapse(tmp_path: Path) -> None:
    found = judged(run(tmp_path, 0, [0.50, 0.40], [0.2, 0.9]))
    assert found.sentence == (
        f"A fall, though no collapse, in {DMPO}, the only preference run: validation HR@1 fell from its best .500 at "
        "step 10 to .400 at step 20 while the training loss did not fall: from .200 to .900."
    )


def test_a_loss_that_is_no_number_is_said(tmp_path: Path) -> None:
    found = judged(run(tmp_path, 0, [0.50, 0.40], [0.9, float("nan")]))
    assert found.sentence.endswith("while the training loss did not fall: from .900 to NaN.")


def test_a_fall_that_chance_explains_is_no_collapse(tmp_path: Path) -> None:
    found = judged(run(tmp_path, 0, [0.50, 0.44], [0.9, 0.2], changes=[0.0, -0.06], errors=[0.04, 0.04]))
    assert found.kind == "none"
    assert "One run ended as low, by less than two standard errors." in found.more


def test_the_alarms_that_sound_are_told(tmp_path: Path) -> None:
    fall = {"changes": [-0.001, -0.08], "errors": [0.01, 0.01]}
    found = judged(run(tmp_path, 0, [0.50, 0.42], [0.9, 0.2], **fall))
    assert found.more == (f"By its default rule CollapseAlarm sounds in {DMPO}, at step 20.",)
    quiet = judged(run(tmp_path, 1, [0.50, 0.49], [0.9, 0.2], changes=[-0.001, -0.01], errors=[0.01, 0.01]))
    assert quiet.more == (
        "By its default rule CollapseAlarm sounds in none of one run that logged what it compares.",
    )
    both = judged(*(run(tmp_path / "both", seed, [0.50, 0.42], [0.9, 0.2], **fall) for seed in (0, 1)))
    assert both.more[-1] == (
        "By its default rule CollapseAlarm sounds in 2 of 2 runs that logged what it compares; 2 of these end so far "
        "below their best."
    )


def test_what_is_missing_is_said_where_there_is_nothing_to_judge(tmp_path: Path) -> None:
    sft = read_run(write_run(tmp_path / "sft", configuration(None), [1, 2]), "sft")
    assert judged(sft) == Verdict(
        "unknown", "Nothing to judge a collapse by: there is no finished preference run."
    )
    found = judged(sft, run(tmp_path, 0, [0.5], [0.9]))
    assert found == Verdict(
        "unknown",
        "Nothing to judge a collapse by: the only preference run logs no training loss or fewer than two validations "
        "of HR@1 (trainer.val_check_interval).",
    )
