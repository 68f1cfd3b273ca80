"""Tables of test metrics, of learning rates, and of every run."""

from collections.abc import Iterable, Sequence

import numpy as np

from study.estimates import holm
from study.report import names
from study.report.cells import SELECTED_ON, Arm, Cell
from study.report.document import Table, interval, number, probability, signed
from study.report.suite import Suite

_MIXED = "95 % intervals account for users and, from two seeds on, for seeds."
_ONE_SEED = "95 % intervals account for users alone: one seed says nothing about others."


def intervals(seeds: Iterable[int]) -> str:
    """Say what intervals account for.

    Args:
        seeds: How many each of them rests on.
    """
    return _MIXED if max(seeds, default=1) > 1 else _ONE_SEED


def paired_by(seeds: Iterable[int]) -> str:
    """Say what differences are paired by, in the words that follow "paired".

    Args:
        seeds: How many each of them rests on.
    """
    return "by seed and test example" if max(seeds, default=1) > 1 else "by test example, of one seed"


def adjusted_for(p: Sequence[float]) -> list[str]:
    """Return p-values adjusted for their family by Holm; empty for one alone, which is no family."""
    return [probability(value) if len(p) > 1 else "" for value in holm(p)]


def at_rates(arms: Iterable[Arm]) -> str:
    """Say where the learning rates come from: nothing was chosen where each has only one."""
    choices = [arm.is_choice for arm in arms]
    if not any(choices):
        return ""
    chosen = "at the learning rate that validation chose"
    return chosen if all(choices) else f"{chosen} where several were tried"


def comparison(suite: Suite) -> Table | None:
    """Return a row for every arm that was tested, at its chosen rate."""
    tested = [(line.label, arm) for line in suite.lines for arm in line.arms if arm.chosen.ranks]
    rows = [_compared(label, arm) for label, arm in tested]
    head = ("", "K", "lr", "seeds", "HR@1", "NDCG@5", "MRR", "train loss", "seconds", "commit")
    notes = [intervals(len(arm.chosen.ranks) for _, arm in tested), examples_of(suite)]
    if len({label for label, arm in tested if arm.setting.stage != "baseline"}) > 1:
        notes.append("Train losses of different objectives are different quantities.")
    return (
        Table(f"comparison-{suite.slug}", "Test metrics", head, tuple(rows), " ".join(notes))
        if rows
        else None
    )


def examples_of(suite: Suite) -> str:
    """Say how many examples and users the suite was tested on."""
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
    """Return K; empty for runs that are not trained on negatives."""
    return str(cell.setting.negatives) if cell.setting.stage == "preference" else ""


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the known values; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def commits(cell: Cell) -> str:
    """Return the commits of a cell's runs."""
    return ", ".join(sorted({run.commit for run in cell.runs if run.commit})) or "not noted"


def rates(suite: Suite) -> Table | None:
    """Return every learning rate that was tried, where validation chose among several."""
    choices = [(line.label, arm) for line in suite.lines for arm in line.arms if arm.is_choice]
    rows = [
        (label, negatives(cell), names.rate(cell.setting.learning_rate), *_validated(arm, cell))
        for label, arm in choices
        for cell in arm.cells
    ]
    head = ("", "K", "lr", "validation HR@1", "seeds", "")
    own = "" if all(arm.seeds_of_choice for _, arm in choices) else ", or over its own where there are none"
    seeds = f"mean over the seeds that all rates were tried with{own}"
    note = f"Of the best checkpoint, {seeds}. Test examples play no part."
    return Table(f"rates-{suite.slug}", "Learning rates", head, tuple(rows), note) if rows else None


def _validated(arm: Arm, cell: Cell) -> tuple[str, str, str]:
    """Return a rate's validation metric, its number of seeds, and whether it was chosen."""
    seeds = arm.seeds_of_choice or sorted(cell.validated_seeds)
    value = number(cell.validated(seeds), 4) if seeds else ""
    return value, str(len(seeds)), "chosen" if cell is arm.chosen else ""


def falls(suite: Suite) -> Table | None:
    """Return what training gained on its own loss and lost on validation, at every learning rate."""
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
    first = "the first change is from what training started from to the first validation, "
    largest = ", the largest fall from the best so far, what training started from included, to any later validation"
    note = (
        f"HR@1 on validation, means over seeds; {first if any(row[8] for row in rows) else ''}the fall from each "
        f"seed's own best to the end of training{largest if any(row[10] for row in rows) else ''}."
    )
    title = "Loss and held-out HR@1 at every rate"
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
    """Return a row for every run."""
    rows = [
        (
            run.name,
            names.method(run.setting),
            negatives(cell),
            names.rate(run.setting.learning_rate),
            str(run.seed),
            number(float(run.ranks.metrics["hit_ratio@1"].mean())) if run.ranks else "",
            number(run.best(SELECTED_ON)),
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
