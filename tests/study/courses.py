"""Runs whose validations and training loss are given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.runs import Run, read_run
from tests.study.folders import configuration, objective, write_run

_ALARM = "alarm/train_loss_change,alarm/mrr_change,alarm/mrr_error,alarm/hit_ratio@1_change,alarm/hit_ratio@1_error"


def write_course(
    folder: Path,
    hits: list[float],
    losses: list[float],
    changes: list[float] | None = None,
    errors: list[float] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Write a preference run and read it: a training loss after every ten steps, most with a validation.

    Args:
        folder: Of the run.
        hits: HR@1 at the first validations.
        losses: At least as many.
        changes: What `CollapseAlarm` logged as the change of HR@1 and of mrr; None logs nothing for it.
        errors: Of the changes.
        config: Saved configuration; None takes DMPO's.
    """
    write_run(folder, dict(config or configuration(objective())), None, finished={"seconds": 1.0})
    names = [
        "step",
        "train/loss",
        *(["val/mrr,val/hit_ratio@1"] if hits else []),
        *([_ALARM] if changes else []),
    ]
    lines = [",".join(names)]
    for place, loss in enumerate(losses):
        cells = [f"{10 * place + 9}", f"{loss}"]
        if hits:
            cells += [f"{hits[place]}"] * 2 if place < len(hits) else ["", ""]
        if changes and errors:
            cells += ["-.1", f"{changes[place]}", f"{errors[place]}", f"{changes[place]}", f"{errors[place]}"]
        lines.append(",".join(cells))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return read_run(folder, folder.name)
