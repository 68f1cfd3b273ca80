"""The alarm's table against counts made by hand."""

from pathlib import Path

from study.report.alarms import alarm
from study.report.cells import cells_of
from study.runs import Run, read_run
from tests.study.folders import configuration, objective, write_run

CHANGES = "alarm/train_loss_change,alarm/mrr_change,alarm/mrr_error,alarm/hit_ratio@1_change,alarm/hit_ratio@1_error"


def run(folder: Path, seed: int, changes: list[float | None], error: float = 0.001) -> Run:
    """A run whose HR@1 and mrr are so far below their best at its validations."""
    folder = write_run(
        folder / f"{len(changes)}-{seed}",
        configuration(objective(), 3, seed=seed),
        None,
        finished={"seconds": 1.0},
    )
    lines = [f"step,train/loss,val/mrr,val/hit_ratio@1,{CHANGES}"]
    for step, change in enumerate(changes):
        logged = ",,,," if change is None else f"-.1,{change},{error},{change},{error}"
        lines.append(f"{step},.5,.5,.5,{logged}")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return read_run(folder, folder.name)


def test_counts_by_hand(tmp_path: Path) -> None:
    """The default rule wants a fall of .02 and four errors, here .024.

    Seed 0 collapses at validation 1 and is noticed there; seed 1 at 3, noticed at 1; seed 2 falls by .03 and is
    healthy; seed 3 has no fall; seed 4 collapses and its error is too large to tell.
    """
    runs = [
        run(tmp_path, 0, [None, -0.06, -0.07, -0.08]),
        run(tmp_path, 1, [None, -0.03, -0.03, -0.08]),
        run(tmp_path, 2, [None, -0.03, -0.03, -0.01]),
        run(tmp_path, 3, [None, -0.001, None, -0.001]),
        run(tmp_path, 4, [None, -0.001, None, -0.06], error=0.02),
    ]
    table = alarm(cells_of(runs)[0])
    assert table is not None
    default = "default: z = 4, margin = 0.02, patience = 1"
    assert table.rows[0] == (default, "5", "2", "1", "3", "2", "0", "-2", "0")
    assert table.rows[1][:3] == ("chosen on the other seeds", "5", "2")
    assert "3 collapsed runs are too few" in table.note
    one = alarm(cells_of(runs[:1])[0])
    assert one is not None
    assert len(one.rows) == 1
    assert "no rule was chosen" in one.note


def test_runs_without_the_callback_have_no_table(tmp_path: Path) -> None:
    plain = read_run(write_run(tmp_path / "run", configuration(objective()), None), "run")
    assert alarm(cells_of([plain])[0]) is None
