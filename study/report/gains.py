"""Does DynamicPO add more where there are more negatives?"""

from collections.abc import Iterator

from study.estimates import holm
from study.report import names
from study.report.cells import Arm, Cell, contrast
from study.report.comparisons import INTERVALS
from study.report.document import Table, difference, probability
from study.report.suite import Suite

_Four = tuple[
    Cell, Cell, Cell, Cell
]  # base and DynamicPO at the fewest negatives, base and DynamicPO at more


def gains(suite: Suite) -> Table | None:
    """(DynamicPO − base) at every K − the same at the fewest, at the chosen rates and at every one rate of all four."""
    fours = [
        (label, few.setting.negatives, many.setting.negatives, four)
        for line in suite.dynamic
        for few, many in ((line.arms[0], many) for many in line.arms[1:])
        for label, four in _fours(suite, line.label, few, many)
    ]
    found = [
        (label, f"{many} − {few}", each)
        for label, few, many, (base_few, at_few, base_many, at_many) in fours
        if (each := contrast([at_many, base_few], [base_many, at_few])) is not None
    ]
    adjusted = holm([each.p for *_, each in found])
    rows = [
        (label, counts, str(each.seeds), difference(each), probability(each.p), probability(p))
        for (label, counts, each), p in zip(found, adjusted, strict=True)
    ]
    head = ("", "K", "seeds", "gain − gain at the fewest", "p", "p, Holm")
    note = f"A gain is DynamicPO − its base objective, paired by seed and test example. {INTERVALS}"
    title = f"Gain in HR@1 by more negatives: {suite.title}"
    return Table(f"gains-{suite.slug}", title, head, tuple(rows), note) if rows else None


def _fours(suite: Suite, label: str, few: Arm, many: Arm) -> Iterator[tuple[str, _Four]]:
    bases = suite.base_of(few.setting), suite.base_of(many.setting)
    if bases[0] is None or bases[1] is None:
        return
    arms = (bases[0], few, bases[1], many)
    chosen = (arms[0].chosen, arms[1].chosen, arms[2].chosen, arms[3].chosen)
    yield label, chosen
    by_rate = [{cell.setting.learning_rate: cell for cell in arm.cells} for arm in arms]
    for rate, cell in by_rate[0].items():
        if all(rate in cells for cells in by_rate):
            four = (cell, by_rate[1][rate], by_rate[2][rate], by_rate[3][rate])
            if four != chosen:
                yield f"{label}, all at lr {names.rate(rate)}", four
