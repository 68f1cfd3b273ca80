"""The report: what is asked of the runs, in order, and left out where no run answers."""

from collections.abc import Iterator

from study.report import charts, comparisons, differences
from study.report.alarms import alarm
from study.report.cells import Cell, arms_of
from study.report.document import Figure, Section, Table
from study.report.gains import gains
from study.report.norms import norms
from study.report.suite import Suite, suites_of

_HEADLINE = "One K, test HR@1, and what DynamicPO adds to its base."
_COMPARISON = "Every method at the learning rate that validation chose, tested with its best checkpoint."
_BASE = "Does DynamicPO help, at each K?"
_LEARNING = "The loss of a base objective falls with training. Does what it is trained for get better too?"
_STAGES = (
    "S are the negatives that the model tells from the positive with ease, B those at the decision boundary. The paper "
    "holds that S crowds out B as training goes on and K grows."
)
_NEGATIVES = "Do more negatives help or hurt?"
_WON = "How often does the positive win against all its negatives at once?"
_VARIED = "How much hangs on DynamicPO's two settings?"
_CONTROLS = "Is it the boundary that helps, or only that fewer negatives enter the loss?"
_RATES = "The rate of every method was chosen on validation alone, from these."
_LEAK = "What a candidate list gives away: one data set, its lists as published and drawn anew."
_ALARM = "Would CollapseAlarm have warned in these runs, and only where it should?"
_RUNS = "What every number above rests on."


def sections_of(cells: list[Cell]) -> list[Section]:
    """Builds the report.

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
    behind = f": {suite.title}" if named else ""
    yield from _section(f"In short{behind}", _HEADLINE, None, differences.headline(suite))
    yield from _section(f"Comparison{behind}", _COMPARISON, None, comparisons.comparison(suite))
    yield from _section(
        f"DynamicPO against its base{behind}", _BASE, None, differences.against_base(suite), gains(suite)
    )
    yield from _section(
        f"Loss and accuracy{behind}", _LEARNING, charts.learning_curves(suite), comparisons.falls(suite)
    )
    yield from _section(f"Easy and boundary negatives{behind}", _STAGES, charts.stages(suite), norms(suite))
    yield from _section(
        f"HR@1 against K{behind}", _NEGATIVES, charts.by_negatives(suite), differences.more_negatives(suite)
    )
    yield from _section(f"Reward win rate{behind}", _WON, charts.win_rates(suite), None)
    yield from _section(
        f"γ and α{behind}", _VARIED, charts.gamma_alpha(suite), differences.gamma_alpha(suite)
    )
    to_base, to_dynamic = differences.controls(suite), differences.controls_against_dynamic(suite)
    yield from _section(f"Controls{behind}", _CONTROLS, None, to_base, to_dynamic)
    yield from _section(f"Learning rates{behind}", _RATES, None, comparisons.rates(suite))


def _section(title: str, text: str, figure: Figure | None, *tables: Table | None) -> list[Section]:
    known = tuple(table for table in tables if table is not None)
    if figure is None and not known:
        return []
    return [Section(title, text, (figure,) if figure else (), known)]
