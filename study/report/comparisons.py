"""Tables of test metrics, of learning rates, and of every run."""

from collections.abc import Iterable

import numpy as np

from study.report import names
from study.report.cells import SELECTED_ON, Arm, Cell
from study.report.document import Table, interval, number, signed
from study.report.suite import Suite

INTERVALS = "95 % intervals account for users and, from two seeds on, for seeds."


def comparison(suite: Suite) -> Table | None:
    """Every arm that was tested, at the learning rate that validation chose."""
    rows = [_compared(line.label, arm) for line in suite.lines for arm in line.arms if arm.chosen.ranks]
    head = ("", "K", "lr", "seeds", "HR@1", "NDCG@5", "MRR", "train loss", "seconds", "commit")
    note = f"{INTERVALS} {examples_of(suite)} Train losses of different objectives are different quantities."
    title = f"Test metrics: {suite.title}"
    return Table(f"comparison-{suite.slug}", title, head, tuple(rows), note) if rows else None


def examples_of(suite: Suite) -> str:
    """How many examples and users the suite was tested on."""
    ranks = [ranks for arm in suite.arms for ranks in arm.chosen.ranks.values()]
    counts = sorted({(len(part.ids), len(set(part.users.tolist()))) for part in ranks})
    return " ".join(f"{examples:,} test examples of {users:,} users." for examples, users in counts)


def _compared(label: str, arm: Arm) -> tuple[str, ...]:
    cell = arm.chosen
    return (
        label,
        negatives(cell),
        names.rate(cell.setting.learning_rate),
        str(len(cell.ranks)),
        *(interval(cell.estimate(metric)) for metric in ("hit_ratio@1", "ndcg@5", "mrr")),
        number(mean(run.last("train/loss") for run in cell.runs)),
        number(mean(run.seconds for run in cell.runs), 0),
        commits(cell),
    )


def negatives(cell: Cell) -> str:
    """K; empty for what is not trained on negatives."""
    return str(cell.setting.negatives) if cell.setting.stage == "preference" else ""


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is known; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def commits(cell: Cell) -> str:
    """The commits of a cell's runs."""
    return ", ".join(sorted({run.commit for run in cell.runs if run.commit})) or "not noted"


def rates(suite: Suite) -> Table | None:
    """Every learning rate that was tried, where there was a choice."""
    rows = []
    for line in suite.lines:
        for arm in (arm for arm in line.arms if len(arm.cells) > 1):
            for cell in arm.cells:
                seeds = arm.seeds_of_choice or [run.seed for run in cell.runs]
                mark = "chosen" if cell is arm.chosen else ""
                rate = names.rate(cell.setting.learning_rate)
                value = number(cell.validated(seeds), 4)
                rows.append((line.label, negatives(cell), rate, value, str(len(seeds)), mark))
    head = ("", "K", "lr", "validation HR@1", "seeds", "")
    note = "Of the best checkpoint, mean over the seeds that all rates were tried with. Test examples play no part."
    return (
        Table(f"rates-{suite.slug}", f"Learning rates: {suite.title}", head, tuple(rows), note)
        if rows
        else None
    )


def falls(suite: Suite) -> Table | None:
    """What training gained on its own loss and lost on validation, at every learning rate."""
    lines = [*suite.compared, *suite.controls]
    cells = [(line.label, cell) for line in lines for arm in line.arms for cell in arm.cells]
    rows = [row for label, cell in cells if (row := _fall(label, cell)) is not None]
    head = (
        "",
        "K",
        "lr",
        "seeds",
        "first loss",
        "last loss",
        "best HR@1",
        "last HR@1",
        "first change",
        "fall",
        "largest fall",
    )
    note = (
        "HR@1 on validation, means over seeds; the first change is from what training started from to the first "
        "validation, the fall from each seed's own best to the end of training, the largest fall from the best so far, "
        "what training started from included, to any later validation."
    )
    title = f"Loss and held-out HR@1 at every rate: {suite.title}"
    return Table(f"falls-{suite.slug}", title, head, tuple(rows), note) if rows else None


def _fall(label: str, cell: Cell) -> tuple[str, ...] | None:
    loss, hit = cell.curve("train/loss"), cell.curve(SELECTED_ON)
    if loss is None or hit is None:
        return None
    means, best, last = loss[1].mean(axis=0), hit[1].max(axis=1).mean(), hit[1][:, -1].mean()
    told = [number(float(value)) for value in (means[0], means[-1], best, last)]
    first = largest = ""
    if (changes := cell.curve("alarm/hit_ratio@1_change")) is not None:
        largest = number(abs(float(np.minimum(changes[1].min(axis=1), 0).mean())))
        if changes[0][0] == hit[0][0]:
            first = signed(float(changes[1][:, 0].mean()))
    fall = number(float(best - last))
    rate = names.rate(cell.setting.learning_rate)
    return (label, negatives(cell), rate, str(len(hit[1])), *told, first, fall, largest)


def run_table(cells: list[Cell]) -> Table:
    """Every run."""
    rows = [
        (
            run.name,
            names.method(run.setting),
            negatives(cell),
            names.rate(run.setting.learning_rate),
            str(run.seed),
            number(float(run.ranks.metrics["hit_ratio@1"].mean()), 4) if run.ranks else "",
            number(run.best(SELECTED_ON), 4),
            number(run.seconds, 0),
            run.commit or "not noted",
            run.command or "not noted",
        )
        for cell in cells
        for run in cell.runs
    ]
    head = (
        "",
        "method",
        "K",
        "lr",
        "seed",
        "test HR@1",
        "best validation HR@1",
        "seconds",
        "commit",
        "command",
    )
    return Table("runs", "Every run", head, tuple(sorted(rows)))
