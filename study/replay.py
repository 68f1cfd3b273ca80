"""What a finished run's curves say to the collapse alarm."""

from dataclasses import dataclass

import numpy as np

from callbacks.collapse_rule import Change, Evidence
from study.runs import Curve, Run

_LOSS = "alarm/train_loss_change"
_CHANGES = tuple(
    f"alarm/{metric}_{part}" for metric in ("mrr", "hit_ratio@1") for part in ("change", "error")
)


@dataclass(frozen=True)
class Replay:
    """A run, as the rule sees it.

    Attributes:
        name: The run's.
        seed: Its `seed_everything`.
        evidence: One for each validation; None where it was the best so far.
    """

    name: str
    seed: int
    evidence: list[Evidence | None]


def replay(run: Run) -> Replay | None:
    """Takes what `CollapseAlarm` logged, and the gradient's norms as last measured; None where it logged nothing."""
    if _LOSS not in run.curves:
        return None
    evidence = [_evidence(run, step) for step in run.curves["val/mrr"].steps.tolist()]
    return Replay(run.name, run.seed, evidence)


def _evidence(run: Run, step: int) -> Evidence | None:
    loss = _value(run.curves[_LOSS], step)
    if loss is None:
        return None
    mrr, mrr_error, hit_ratio, hit_ratio_error = (_value(run.curves[name], step) or 0.0 for name in _CHANGES)
    if mrr > 0:
        return None
    return Evidence(loss, Change(mrr, mrr_error), Change(hit_ratio, hit_ratio_error), _easy_share(run, step))


def _value(curve: Curve, step: int) -> float | None:
    place = int(np.searchsorted(curve.steps, step))
    found = place < len(curve.steps) and curve.steps[place] == step
    return float(curve.values[place]) if found else None


def _easy_share(run: Run, step: int) -> float | None:
    """‖g_S‖ / (‖g_S‖ + ‖g_B‖) as last measured up to a step, of the measurements in which one of them is not 0."""
    norms = [run.curves.get(f"gradient/{part}_norm") for part in ("easy", "boundary")]
    if norms[0] is None or norms[1] is None:
        return None
    known = [
        easy / (easy + boundary)
        for at, easy, boundary in zip(norms[0].steps, norms[0].values, norms[1].values, strict=True)
        if at <= step and easy + boundary > 0
    ]
    return float(known[-1]) if known else None
