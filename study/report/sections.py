"""The sections of a report, in order; sections without data are omitted."""

from collections.abc import Iterator
from dataclasses import replace

from study.report import charts, comparisons, differences
from study.report.alarms import alarm
from study.report.cells import Cell, arms_of
from study.report.document import Figure, Section, Table
from study.report.gains import gains
from study.report.norms import norms
from study.report.suite import Suite, suites_of

_BASE = "Does DynamicPO help, at each K?"
_LEARNING = "Does what the model is trained for improve while its training loss falls?"
_STAGES = (
    "S are the negatives that the model tells from the positive with ease, B those at the decision boundary. The paper "
    "holds that S crowds out B as training goes on and K grows."
)
_NEGATIVES = "Do more negatives help or hurt?"
_WON = "How often does the positive win against all its negatives at once?"
_VARIED = "How much hangs on DynamicPO's two settings?"
_CONTROLS = "Is it the boundary that helps, or only that fewer negatives enter the loss?"
_RATES = "Validation chose one of these rates for every method and K."
_LEAK = "What a candidate list gives away: one data set, its lists as published and drawn anew."
_ALARM = "Would CollapseAlarm have warned in these runs, and only where it should?"
_RUNS = "What every number above rests on."


def sections_of(cells: list[Cell]) -> list[Section]:
    """Build the sections.

    Args:
        cells: As `study.report.cells.cells_of` groups runs.

    Returns:
        Sections with at least one figure or table each.
    """
    suites = list(suites_of(arms_of(cells)))
    sections = [section for suite in suites for section in _of_suite(suite, len(suites) > 1)]
    sections += _section("Candidate lists", _LEAK, None, differences.leak(suites))
    sections += _section("The collapse alarm", _ALARM, None, alarm(cells))
    sections += _section("Runs", _RUNS, None, comparisons.run_table(cells))
    return sections


def _of_suite(suite: Suite, named: bool) -> Iterator[Section]:
    group = suite.title if named else ""
    for section in _asked(suite):
        yield replace(section, group=group)


def _asked(suite: Suite) -> Iterator[Section]:
    over = ", and what DynamicPO adds to its base" if suite.dynamic else ""
    yield from _section("In short", f"Test HR@1 at one K{over}.", None, differences.headline(suite))
    rates = comparisons.at_rates(arm for arm in suite.arms if arm.chosen.ranks)
    every = f"Every method that was tested{rates and f', {rates}'}."
    yield from _section("Comparison", every, None, comparisons.comparison(suite))
    to_base = differences.against_base(suite), gains(suite)
    yield from _section("DynamicPO against its base", _BASE, None, *to_base)
    yield from _section(
        "Loss and accuracy", _LEARNING, charts.learning_curves(suite), comparisons.falls(suite)
    )
    yield from _section("Easy and boundary negatives", _STAGES, charts.stages(suite), norms(suite))
    yield from _section(
        "HR@1 against K", _NEGATIVES, charts.by_negatives(suite), differences.more_negatives(suite)
    )
    yield from _section("Reward win rate", _WON, charts.win_rates(suite), None)
    yield from _section("γ and α", _VARIED, charts.gamma_alpha(suite), differences.gamma_alpha(suite))
    controls = differences.controls(suite), differences.controls_against_dynamic(suite)
    yield from _section("Controls", _CONTROLS, None, *controls)
    yield from _section("Learning rates", _RATES, None, comparisons.rates(suite))


def _section(title: str, text: str, figure: Figure | None, *tables: Table | None) -> list[Section]:
    known = tuple(table for table in tables if table is not None)
    if figure is None and not known:
        return []
    return [Section(title, text, (figure,) if figure else (), known)]
