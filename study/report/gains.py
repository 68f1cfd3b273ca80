"""The gain of DynamicPO over its base, compared between numbers of negatives."""

from collections.abc import Iterator

from study.estimates import Estimate
from study.report import names
from study.report.cells import at_same_rates, contrast
from study.report.comparisons import adjusted_for, intervals, paired_by
from study.report.document import Table, difference, probability
from study.report.suite import Line, Suite


def gains(suite: Suite) -> Table | None:
    """Return (DynamicPO − base) at every K − the same at the fewest, at the chosen rates and at every common one."""
    found = [gain for line in suite.dynamic for gain in _gains(suite, line)]
    adjusted = adjusted_for([each.p for *_, each in found])
    rows = [
        (label, counts, str(each.seeds), difference(each), probability(each.p), p)
        for (label, counts, each), p in zip(found, adjusted, strict=True)
    ]
    head = ("", "K", "seeds", "gain − gain at the fewest", "p", "p, Holm")
    seeds = [each.seeds for *_, each in found]
    note = f"A gain is DynamicPO − its base objective, paired {paired_by(seeds)}. {intervals(seeds)}"
    title = "Gain in HR@1 by more negatives"
    return Table(f"gains-{suite.slug}", title, head, tuple(rows), note) if rows else None


def _gains(suite: Suite, line: Line) -> Iterator[tuple[str, str, Estimate]]:
    few, *others = line.arms
    base_few = suite.base_of(few.setting)
    for many in others:
        base_many = suite.base_of(many.setting)
        if base_few is None or base_many is None:
            continue
        counts = f"{many.setting.negatives} − {few.setting.negatives}"
        for rate, (at_many, at_base_many, at_few, at_base_few) in at_same_rates(
            (many, base_many, few, base_few)
        ):
            label = line.label if rate is None else f"{line.label}, all at lr {names.rate(rate)}"
            found = contrast([at_many, at_base_few], [at_base_many, at_few])
            if found is not None:
                yield label, counts, found
