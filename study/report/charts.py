"""Figures of a suite, as data."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from study.report import names
from study.report.cells import HIT, SELECTED_ON, Arm, Cell, grouped
from study.report.comparisons import intervals
from study.report.document import Figure, Panel, Series
from study.report.suite import Line, Suite

# The value and its lower and upper end, which are NaN where nothing is known of them.
Measure = Callable[[Cell], tuple[float, float, float] | None]
Points = tuple[str, list[tuple[float, Cell]]]  # a line's label, and its cells by place on the horizontal axis

_STAGES = (1, 2, 3)


def learning_curves(suite: Suite) -> Figure | None:
    """Return train loss beside validation HR@1, a row a method, a line a K; methods without one of them come last."""
    rows = [row for line in suite.compared if (row := _curves(suite, line))]
    panels = tuple(panel for row in sorted(rows, key=len, reverse=True) for panel in row)
    caption = f"Training loss beside validation HR@1, a row a method. {_ranges(panels, 'bands')}"
    return Figure(f"learning-curves-{suite.slug}", caption, panels) if panels else None


def _curves(suite: Suite, line: Line) -> list[Panel]:
    loss = f"train loss, {names.objective(line.setting)}"  # those of two objectives share no axis
    held_out = "validation HR@1"
    panels = []
    for metric, name, axis in (("train/loss", "train loss", loss), (SELECTED_ON, held_out, held_out)):
        series, looks = _by_arm(suite, line, partial(_over_steps, metric=metric))
        if _has_line(series):
            panel = Panel(f"{line.label}: {name}", "step", axis, series, looks=looks)
            panels.append(replace(panel, share=metric == SELECTED_ON))
    return panels


def _has_line(series: Iterable[Series]) -> bool:
    """Whether any line has two points: a chart of lone points shows no course."""
    return any(len(one.x) > 1 for one in series)


def _ranges(panels: Iterable[Panel], drawn_as: str) -> str:
    """Say what lines and their ranges are, no more than the runs have seeds for."""
    series = [one for panel in panels for one in panel.series]
    ranged = [bool(one.low) for one in series]
    if not any(ranged):
        return "Each line is of one seed."
    alone = "" if all(ranged) else "; a line without is of one seed"
    return f"Lines are means over seeds, {drawn_as} their range{alone}."


def _by_arm(
    suite: Suite, line: Line, drawn: Callable[[Arm], Series | None]
) -> tuple[tuple[Series, ...], tuple[int, ...]]:
    """Return a series for every K that has one, and its look, which is the same in all panels."""
    counts = sorted({arm.setting.negatives for other in suite.compared for arm in other.arms})
    found = [
        (series, counts.index(arm.setting.negatives))
        for arm in line.arms
        if (series := drawn(arm)) is not None
    ]
    return tuple(series for series, _ in found), tuple(look for _, look in found)


def _over_steps(arm: Arm, metric: str) -> Series | None:
    curve = arm.chosen.curve(metric)
    if curve is None:
        return None
    steps, values = curve
    return _ranged(f"K = {arm.setting.negatives}", (steps + 1).astype(float), values)


def _ranged(label: str, x: NDArray[np.float64], values: NDArray[np.float64]) -> Series:
    """Return the mean over rows, with their range if there are several."""
    ends = (values.min(axis=0), values.max(axis=0)) if len(values) > 1 else ((), ())
    return Series(
        label, tuple(x.tolist()), tuple(values.mean(axis=0).tolist()), *(tuple(map(float, e)) for e in ends)
    )


def stages(suite: Suite) -> Figure | None:
    """Return S / B in each third of training (the paper's Fig. 3)."""
    panels = []
    for line in suite.compared:
        series, looks = _by_arm(suite, line, _ratio)
        if _has_line(series):
            ticks = tuple(map(float, _STAGES))
            panels.append(Panel(line.label, "third of training", "S / B", series, ticks, looks))
    caption = (
        "Easy negatives for each one at the boundary, in each third of training (the paper's Fig. 3). "
        f"{_ranges(panels, 'bars')}"
    )
    return Figure(f"stages-{suite.slug}", caption, tuple(panels)) if panels else None


def _ratio(arm: Arm) -> Series | None:
    """Return S / B, without the thirds in which no negative is at the boundary."""
    found = []
    for stage in _STAGES:
        easy = arm.chosen.curve(f"boundary/stage_{stage}/easy_proportion")
        boundary = arm.chosen.curve(f"boundary/stage_{stage}/proportion")
        if easy is not None and boundary is not None and (boundary[1][:, -1] > 0).all():
            found.append((float(stage), easy[1][:, -1] / boundary[1][:, -1]))
    if not found:
        return None
    x, values = zip(*found, strict=True)
    return _ranged(f"K = {arm.setting.negatives}", np.array(x), np.stack(values, axis=1))


def by_negatives(suite: Suite) -> Figure | None:
    """Return test HR@1 against K, a panel an objective (the paper's Fig. 4a)."""
    seeds = [len(arm.chosen.ranks) for line in suite.compared for arm in line.arms]
    caption = f"Test HR@1 against K (the paper's Fig. 4a). {intervals(seeds)}"
    return _against_negatives(suite, f"hit-ratio-{suite.slug}", "test HR@1", caption, _tested)


def win_rates(suite: Suite) -> Figure | None:
    """Return the reward win rate late in training against K (the paper's Fig. 4b)."""
    caption = (
        "Share of training examples whose positive's reward exceeds every negative's, in the last third of training, "
        "against K (the paper's Fig. 4b)."
    )
    figure = _against_negatives(suite, f"win-rate-{suite.slug}", "reward win rate", caption, _won)
    return figure and replace(figure, caption=f"{caption} {_ranges(figure.panels, 'bars')}")


def _against_negatives(suite: Suite, name: str, axis: str, caption: str, measure: Measure) -> Figure | None:
    panels = []
    for goal, own in grouped(suite.compared, lambda line: names.objective(line.setting)).items():
        points = [
            (line.label, [(float(arm.setting.negatives), arm.chosen) for arm in line.arms]) for line in own
        ]
        panel = _panel(goal, ("K", axis), points, measure)
        if panel is not None:
            panels.append(panel)
    return Figure(name, caption, tuple(panels)) if panels else None


def gamma_alpha(suite: Suite) -> Figure | None:
    """Return test HR@1 against γ at the main α, and against α at the main γ (the paper's Fig. 5)."""
    gamma, alpha = suite.main
    arms = [arm for line in suite.varied for arm in line.arms]
    panels = [
        _panel(f"α = {alpha:g}", ("γ", "test HR@1"), _varied(arms, "gamma", "alpha", alpha), _tested),
        _panel(f"γ = {gamma:g}", ("α", "test HR@1"), _varied(arms, "alpha", "gamma", gamma), _tested),
    ]
    known = tuple(panel for panel in panels if panel is not None)
    spread = intervals(len(arm.chosen.ranks) for arm in arms)
    caption = f"DynamicPO's γ and α (the paper's Fig. 5). {spread}"
    return Figure(f"gamma-alpha-{suite.slug}", caption, known) if known else None


def _varied(arms: list[Arm], over: str, fixed: str, value: float | None) -> list[Points]:
    """Return lines over one setting with the other one fixed."""
    kept = [arm for arm in arms if getattr(arm.setting, fixed) == value]
    groups = grouped(kept, lambda arm: replace(arm.setting, learning_rate=None, gamma=None, alpha=None))
    return [
        (
            f"{names.method(key)}, K = {key.negatives}",
            sorted(((getattr(arm.setting, over), arm.chosen) for arm in own), key=lambda point: point[0]),
        )
        for key, own in groups.items()
        if len(own) > 1  # a point alone says nothing of the setting
    ]


def _panel(title: str, axes: tuple[str, str], lines: list[Points], measure: Measure) -> Panel | None:
    """Return points with bars; None where no line has two points."""
    series = []
    for label, cells in lines:
        points = [(float(x), *found) for x, cell in cells if (found := measure(cell)) is not None]
        if points:
            x, y, low, high = zip(*points, strict=True)
            known = not all(map(math.isnan, low))
            series.append(Series(label, x, y, *((low, high) if known else ())))
    ticks = tuple(sorted({x for one in series for x in one.x}))
    return Panel(title, *axes, tuple(series), ticks, share=True) if _has_line(series) else None


def _tested(cell: Cell) -> tuple[float, float, float] | None:
    if not cell.ranks:
        return None
    estimate = cell.estimate(HIT)
    return estimate.mean, estimate.low, estimate.high


def _won(cell: Cell) -> tuple[float, float, float] | None:
    curve = cell.curve("reward/win_rate")
    if curve is None:
        return None
    steps, values = curve
    late = values[:, 3 * steps >= 2 * steps[-1]].mean(axis=1)
    ends = (float(late.min()), float(late.max())) if len(late) > 1 else (math.nan, math.nan)
    return float(late.mean()), *ends
