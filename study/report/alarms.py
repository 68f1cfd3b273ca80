"""How well the collapse alarm works: false alarms, missed collapses, delay."""

from collections.abc import Sequence

from callbacks.collapse_rule import CollapseRule
from datamodules.errors import InputError
from study.alarm import COLLAPSE, Verdict, judge, leave_one_seed_out
from study.replay import replay
from study.report.cells import Cell, grouped
from study.report.document import Table, number

# Fewer collapsed runs than this say nothing about delays.
ENOUGH = 5


def alarm(cells: list[Cell]) -> Table | None:
    """Return how the default rule and rules chosen on other seeds did in all preference runs with `CollapseAlarm`."""
    runs = [run for cell in cells if cell.setting.stage == "preference" for run in cell.runs]
    replays = [each for run in runs if (each := replay(run)) is not None]
    if not replays:
        return None
    verdicts = [judge(CollapseRule(), each) for each in replays]
    rows = [_row(f"default: {_settings(CollapseRule())}", verdicts)]
    rules = ""
    try:
        held_out = leave_one_seed_out(replays)
    except InputError:
        rules = "All runs have one seed: no rule was chosen."
    else:
        rows.append(_row("chosen on the other seeds", [verdict for _, _, verdict in held_out]))
        chosen = {each.seed: rule for each, rule, _ in held_out}
        rules = " ".join(
            f"Chosen without {_seeds(seeds)}: {_settings(rule)}."
            for rule, seeds in grouped(sorted(chosen), lambda seed: chosen[seed]).items()
        )
    head = ("rule", "runs", "healthy", "false alarms", "collapsed", "noticed", "median delay", "from", "to")
    collapsed = [verdict for verdict in verdicts if verdict.collapsed is not None]
    return Table("alarm", "The collapse alarm, run by run", head, tuple(rows), f"{rules} {_note(collapsed)}")


def _note(collapsed: Sequence[Verdict]) -> str:
    lost = (
        f"A run collapsed if held-out HR@1 was at some validation {number(COLLAPSE, 2)} below its own best so far, "
        "what training started from included; delays are validations from there to the alarm, which cannot sound at "
        "the first: there is no training loss before it to compare with."
    )
    few = (
        f" {len(collapsed)} collapsed runs are too few to judge delays by." if len(collapsed) < ENOUGH else ""
    )
    return lost + few


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed {' or '.join(map(str, seeds))}"


def _settings(rule: CollapseRule) -> str:
    return f"z = {rule.z:g}, margin = {rule.margin:g}, patience = {rule.patience}"


def _row(name: str, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    healthy = [verdict for verdict in verdicts if verdict.collapsed is None]
    delays = sorted(verdict.delay for verdict in verdicts if verdict.delay is not None)
    spread = (delays[len(delays) // 2], delays[0], delays[-1]) if delays else ("", "", "")
    counts = (
        len(verdicts),
        len(healthy),
        sum(verdict.is_false_alarm for verdict in healthy),
        len(verdicts) - len(healthy),
        len(delays),
    )
    return (name, *map(str, counts), *map(str, spread))
