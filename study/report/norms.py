"""Gradient norms of easy and boundary negatives."""

from study.report import names
from study.report.cells import Cell
from study.report.comparisons import negatives
from study.report.document import Table, number
from study.report.suite import Suite


def norms(suite: Suite) -> Table | None:
    """Return the gradient norms of S and B at the first and the last measurement, at the chosen rates."""
    arms = [(line.label, arm.chosen) for line in suite.compared for arm in line.arms]
    rows = [row for label, cell in arms if (row := _row(label, cell)) is not None]
    head = ("", "K", "lr", "seeds", "S, first", "B, first", "S, last", "B, last")
    unselected = "; what DynamicPO does not select gives no gradient" if suite.dynamic else ""
    note = f"Means over seeds{unselected}."
    title = "Gradient norms of easy (S) and boundary (B) negatives"
    return Table(f"norms-{suite.slug}", title, head, tuple(rows), note) if rows else None


def _row(label: str, cell: Cell) -> tuple[str, ...] | None:
    easy, boundary = cell.curve("gradient/easy_norm"), cell.curve("gradient/boundary_norm")
    if easy is None or boundary is None:
        return None
    means = [values.mean(axis=0) for _, values in (easy, boundary)]
    told = [number(float(mean[place]), 2) for place in (0, -1) for mean in means]
    return (label, negatives(cell), names.rate(cell.setting.learning_rate), str(len(easy[1])), *told)
