"""How validation HR@1 and the training loss went in a run.

A run *falls* if validation HR@1 ends at least .05 below its best, what training started from included, and by more than
two standard errors where `CollapseAlarm` logged one. It *collapses* if its training loss fell meanwhile.
"""

import math
from dataclasses import dataclass

import numpy as np

from callbacks.collapse_rule import CollapseRule, Watch
from study.alarm import COLLAPSE
from study.replay import replay
from study.report.cells import SELECTED_ON
from study.runs import Run

_LOSS, _CHANGE, _ERROR = "train/loss", "alarm/hit_ratio@1_change", "alarm/hit_ratio@1_error"
_ERRORS = 2  # standard errors that a fall must exceed
_EPSILON = 1e-9  # a fall of .05 is one, whatever its last binary digit


@dataclass(frozen=True)
class Course:
    """What a run's validations and training loss say.

    Attributes:
        run: The run.
        best: Highest validation HR@1, what training started from included where it is known.
        best_step: Steps trained by then; 0 for what training started from.
        last: HR@1 at the last validation.
        last_step: Steps trained by then.
        lowest: The largest fall from the best so far to any validation, at least 0.
        error: Standard error of the last change; None where `CollapseAlarm` did not log it.
        losses: Training loss at the best and at the last validation.
        alarms: Steps at which the collapse alarm's default rule sounds; None where the run logged nothing for it.
    """

    run: Run
    best: float
    best_step: int
    last: float
    last_step: int
    lowest: float
    error: float | None
    losses: tuple[float, float]
    alarms: tuple[int, ...] | None

    @property
    def fall(self) -> float:
        """From the best to the last validation."""
        return self.best - self.last

    @property
    def ends_low(self) -> bool:
        """Whether HR@1 ends too far below its best, by chance or not."""
        return self.fall >= COLLAPSE - _EPSILON

    @property
    def falls(self) -> bool:
        """Whether it does so by more than chance, where that is known."""
        return self.ends_low and (self.error is None or self.fall > _ERRORS * self.error)

    @property
    def collapses(self) -> bool:
        """Whether it does so while the training loss falls."""
        return self.falls and self.losses[1] < self.losses[0]

    @property
    def recovers(self) -> bool:
        """Whether it fell as far on the way and came back."""
        return not self.ends_low and self.lowest >= COLLAPSE - _EPSILON


def course_of(run: Run) -> Course | None:
    """Return a run's course; None where it has no training loss or fewer than two values of HR@1 to compare."""
    if SELECTED_ON not in run.curves or _LOSS not in run.curves:
        return None
    curve, loss = run.curves[SELECTED_ON], run.curves[_LOSS]
    known = np.isfinite(curve.values)
    steps, values = (curve.steps[known] + 1).tolist(), curve.values[known].tolist()
    start = _start(run)
    if start is not None and steps:
        steps, values = [0, *steps], [start, *values]
    if len(values) < 2:
        return None
    place = int(np.argmax(values))
    lowest = float(np.max(np.maximum.accumulate(values) - values))
    at = [
        max(0, int(np.searchsorted(loss.steps + 1, step, side="right")) - 1)
        for step in (steps[place], steps[-1])
    ]
    losses = (float(loss.values[at[0]]), float(loss.values[at[1]]))
    return Course(
        run, values[place], steps[place], values[-1], steps[-1], lowest, _error(run), losses, _sounded(run)
    )


def _start(run: Run) -> float | None:
    """Return HR@1 of what training started from, which is logged as the change of the first validation."""
    changes, curve = run.curves.get(_CHANGE), run.curves[SELECTED_ON]
    if changes is None or changes.steps[0] != curve.steps[0]:
        return None
    start = float(curve.values[0] - changes.values[0])
    return start if math.isfinite(start) else None


def _error(run: Run) -> float | None:
    """Return the standard error of HR@1's change at the last validation."""
    errors = run.curves.get(_ERROR)
    if errors is None or errors.steps[-1] != run.curves[SELECTED_ON].steps[-1]:
        return None
    return float(errors.values[-1])


def _sounded(run: Run) -> tuple[int, ...] | None:
    replayed = replay(run)
    if replayed is None:
        return None
    watch = Watch(CollapseRule())
    steps = run.curves["val/mrr"].steps.tolist()
    return tuple(
        step + 1 for step, evidence in zip(steps, replayed.evidence, strict=True) if watch.see(evidence)
    )
