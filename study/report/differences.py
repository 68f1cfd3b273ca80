"""Tables of paired differences."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from study.estimates import Estimate
from study.report import names
from study.report.cells import HIT, Arm, Cell, at_same_rates, paired, paired_by_target
from study.report.comparisons import adjusted_for, at_rates, commits, intervals, mean, negatives, paired_by
from study.report.document import Table, difference, interval, number, probability
from study.report.suite import Line, Suite, kin
from study.settings import Setting

_REDRAWN = "Redrawn"


@dataclass(frozen=True)
class Pair:
    """Two cells to be compared.

    Attributes:
        label: Of the second, in the table.
        first: What is subtracted.
        second: From what.
    """

    label: str
    first: Cell
    second: Cell


def headline(suite: Suite) -> Table | None:
    """Return baselines, SFT, base objectives and DynamicPO on them, at the K with the most tested methods."""
    tested = [arm for line in suite.compared for arm in line.arms if arm.chosen.ranks]
    if not tested:
        return None
    counts = Counter(arm.setting.negatives for arm in tested)
    most = max(counts, key=lambda negatives: (counts[negatives], negatives))
    compared = {line.label for line in suite.compared}
    told = [
        (line.label, arm)
        for line in suite.lines
        for arm in line.arms
        if line.setting.stage != "preference" or (line.label in compared and arm.setting.negatives == most)
    ]
    told = [(label, arm) for label, arm in told if arm.chosen.ranks]
    rows = [_told(suite, label, arm) for label, arm in told]
    head = ("", "HR@1", "this − SFT", "this − base", "seeds", "lr", "commit")
    rates = at_rates(arm for _, arm in told if arm.setting.stage == "preference")
    spread = intervals(len(arm.chosen.ranks) for _, arm in told)
    note = f"Preference runs with K = {most}{rates and f', {rates}'}. {spread}"
    return Table(f"headline-{suite.slug}", f"Test HR@1 at K = {most}", head, tuple(rows), note)


def _told(suite: Suite, label: str, arm: Arm) -> tuple[str, ...]:
    cell = arm.chosen
    over = [_over(other, arm) for other in (suite.start_of(arm.setting), suite.base_of(arm.setting))]
    rate = names.rate(cell.setting.learning_rate)
    return (label, interval(cell.estimate()), *over, str(len(cell.ranks)), rate, commits(cell))


def _over(other: Arm | None, arm: Arm) -> str:
    found = paired(other.chosen, arm.chosen) if other is not None and other is not arm else None
    return difference(found) if found is not None else ""


def against_base(suite: Suite) -> Table | None:
    """Return DynamicPO − base at every K, each at its own learning rate and at others that both were tested at."""
    title = "HR@1 of DynamicPO − its base objective"
    pairs = [pair for compared in _to_base(suite, suite.dynamic) for pair in _pairs(*compared)]
    return _differences(pairs, f"paired-{suite.slug}", title)


def more_negatives(suite: Suite) -> Table | None:
    """Return every K − the smallest, each at its own learning rate and at others that both were tested at."""
    pairs = [
        pair
        for line in suite.compared
        for arm in line.arms[1:]
        for pair in _pairs(line.label, line.arms[0], arm)
    ]
    return _differences(pairs, f"negatives-{suite.slug}", "HR@1 of more negatives − the fewest", "fewest")


def controls(suite: Suite) -> Table | None:
    """Return controls − base, and DynamicPO − base beside them if it was run."""
    beside = _beside(suite.dynamic, suite.controls)
    title = "HR@1 of other selections and β rules − the base objective"
    pairs = [_chosen(*compared) for compared in _to_base(suite, [*beside, *suite.controls])]
    return _differences(pairs, f"controls-{suite.slug}", title)


def controls_against_dynamic(suite: Suite) -> Table | None:
    """Return controls − DynamicPO."""
    dynamic = {kin(arm.setting): arm for line in suite.dynamic for arm in line.arms}
    pairs = [
        _chosen(line.label, dynamic[kin(arm.setting)], arm)
        for line in suite.controls
        for arm in line.arms
        if kin(arm.setting) in dynamic
    ]
    title = "HR@1 of other selections and β rules − DynamicPO"
    return _differences(pairs, f"controls-dynamicpo-{suite.slug}", title, "DynamicPO")


def gamma_alpha(suite: Suite) -> Table | None:
    """Return DynamicPO at every γ and α − base, if several were run."""
    others = [line for line in suite.varied if (line.setting.gamma, line.setting.alpha) != suite.main]
    title = "HR@1 of DynamicPO at every γ and α − its base objective"
    lines = [*_beside(suite.dynamic, others), *others]
    pairs = [_chosen(*compared) for compared in _to_base(suite, lines)]
    return _differences(pairs, f"gamma-alpha-{suite.slug}", title)


def _beside(lines: Iterable[Line], others: Iterable[Line]) -> list[Line]:
    """Return the lines whose base objective, K and further settings (`kin`) occur in others too."""
    run = {kin(arm.setting) for line in others for arm in line.arms}
    kept = [Line(line.label, tuple(arm for arm in line.arms if kin(arm.setting) in run)) for line in lines]
    return [line for line in kept if line.arms]


def _to_base(suite: Suite, lines: Iterable[Line]) -> list[tuple[str, Arm, Arm]]:
    """Return label, base objective and the method on it."""
    return [
        (line.label, base, arm)
        for line in lines
        for arm in line.arms
        if (base := suite.base_of(arm.setting)) is not None
    ]


def _chosen(label: str, first: Arm, second: Arm) -> Pair:
    """Return the pair at the chosen rates."""
    return Pair(label, first.chosen, second.chosen)


def _pairs(label: str, first: Arm, second: Arm) -> Iterator[Pair]:
    """Yield the pair at the chosen rates, then at every other rate that both were run with."""
    for rate, (one, other) in at_same_rates((first, second)):
        yield Pair(label if rate is None else f"{label}, both at lr {names.rate(rate)}", one, other)


def _differences(pairs: list[Pair], name: str, title: str, base: str = "base") -> Table | None:
    found = [(pair, each) for pair in pairs if (each := paired(pair.first, pair.second)) is not None]
    adjusted = adjusted_for([each.p for _, each in found])
    rows = [_compared(pair, each, p) for (pair, each), p in zip(found, adjusted, strict=True)]
    head = ("", "K", "seeds", base, "this", f"this − {base}", "p", "p, Holm")
    return Table(name, title, head, tuple(rows), paired_note([each for _, each in found])) if rows else None


def paired_note(found: Sequence[Estimate]) -> str:
    """Say how differences are paired and tested, no more than holds for these.

    Args:
        found: The differences, one a row.
    """
    seeds = [each.seeds for each in found]
    holm_of = "; Holm adjusts it for all rows of the table" if len(found) > 1 else ""
    return (
        f"Differences are paired {paired_by(seeds)}. p is two-sided and of the same t as the interval{holm_of}. "
        f"{intervals(seeds)}"
    )


def _compared(pair: Pair, found: Estimate, adjusted: str) -> tuple[str, ...]:
    return (
        pair.label,
        _counts(pair),
        str(found.seeds),
        number(_mean_on_shared_seeds(pair.first, pair.second)),
        number(_mean_on_shared_seeds(pair.second, pair.first)),
        difference(found),
        probability(found.p),
        adjusted,
    )


def _counts(pair: Pair) -> str:
    """Return the K of both, or both K."""
    first, second = negatives(pair.first), negatives(pair.second)
    return second if first == second else f"{second} − {first}"


def _mean_on_shared_seeds(cell: Cell, other: Cell) -> float | None:
    return mean(float(ranks.metrics[HIT].mean()) for seed, ranks in cell.ranks.items() if seed in other.ranks)


def leak(suites: list[Suite]) -> Table | None:
    """Return one data set with several kinds of candidates, every method beside itself."""
    rows, seeds = [], []
    for suite in suites:
        others = [other for other in suites if other.arms[0].setting.data == suite.arms[0].setting.data]
        if len(others) < 2:
            continue
        for line in suite.lines:
            for arm in (arm for arm in line.arms if arm.chosen.ranks):
                setting, found = arm.setting, arm.chosen.estimate()
                place = (setting.data, line.label, negatives(arm.chosen), names.candidates(setting))
                over = _over_redrawn(arm.chosen, others, line.label)
                seeds.append(found.seeds)
                rows.append((*place, str(found.seeds), interval(found), over, commits(arm.chosen)))
    rows.sort(key=lambda row: row[:4])
    head = ("data", "method", "K", "candidates", "seeds", "HR@1", "this − re-drawn", "commit")
    note = (
        "Rows of one method have the same data, model and K and differ in the candidate lists; settings without a "
        f"column are not compared. Differences are paired by seed and target. {intervals(seeds)}"
    )
    return Table("leak", "HR@1 by candidate lists", head, tuple(rows), note) if rows else None


def _over_redrawn(cell: Cell, suites: Iterable[Suite], label: str) -> str:
    """Return the difference to the same method on re-drawn lists; empty for that one itself and without one."""
    if cell.setting.candidates == _REDRAWN:
        return ""
    lines = [line for suite in suites for line in suite.lines if line.label == label]
    for arm in (arm for line in lines for arm in line.arms):
        if arm.setting.candidates == _REDRAWN and _but_lists(arm.setting) == _but_lists(cell.setting):
            found = paired_by_target(arm.chosen, cell)
            return difference(found) if found is not None else ""
    return ""


def _but_lists(setting: Setting) -> Setting:
    """Leave out what differs between candidate lists, and the rates, of which each list has its own choice."""
    return replace(setting, candidates="", rest="", learning_rate=None)
