"""The first sentence of a report: did training collapse, and by which numbers?"""

from collections import Counter
from collections.abc import Sequence

from study.alarm import COLLAPSE
from study.report import names
from study.report.cells import Cell
from study.report.courses import Course, course_of
from study.report.document import Table, Verdict, number, signed
from study.runs import Run

_NAMED = 5  # methods that a sentence counts one by one


def verdict(cells: Sequence[Cell]) -> Verdict:
    """Judge all preference runs.

    Args:
        cells: Runs of every stage.
    """
    runs = [run for cell in cells if cell.setting.stage == "preference" for run in cell.runs]
    if not runs:
        return Verdict("unknown", "Nothing to judge a collapse by: there is no finished preference run.")
    courses = [course for run in runs if (course := course_of(run)) is not None]
    left_out = len(runs) - len(courses)
    if not courses:
        return Verdict("unknown", f"Nothing to judge a collapse by: {_missing(left_out, len(runs))}.")
    worst = sorted(courses, key=lambda course: (-course.fall, course.run.name))
    collapsed = [course for course in worst if course.collapses]
    fallen = [course for course in worst if course.falls and not course.collapses]
    more = [*_others(collapsed, fallen, courses), *_alarms(courses)]
    if left_out:
        more.append(f"Not judged: {_missing(left_out, len(runs))}.")
    kind = "collapse" if collapsed or fallen else "none"
    sentence = _sentence(collapsed, fallen, worst)
    return Verdict(kind, sentence, tuple(more), _table([course for course in worst if course.falls]))


def _missing(count: int, of: int) -> str:
    runs = "the only preference run" if of == 1 else f"{count} of {of} preference runs"
    verb = "logs" if of == 1 or count == 1 else "log"
    return (
        f"{runs} {verb} no training loss or fewer than two validations of HR@1 (trainer.val_check_interval)"
    )


def _sentence(collapsed: Sequence[Course], fallen: Sequence[Course], worst: Sequence[Course]) -> str:
    """Return the verdict with the numbers of the run that fell furthest."""
    runs = {1: "the only preference run", 2: "both preference runs"}.get(
        len(worst), f"all {len(worst)} preference runs"
    )
    if found := collapsed or fallen:
        first = "Collapse" if collapsed else "A fall, though no collapse,"
        return f"{first} in {_place(found, worst)}: validation HR@1 fell {_numbers(found[0])}."
    if worst[0].fall <= 0:
        last = sorted({number(course.last) for course in worst})
        values = last[0] if len(last) == 1 else f"{last[0]} to {last[-1]}"
        return f"No collapse: validation HR@1 is at its best, {values}, at the last validation of {runs}."
    return (
        f"No collapse: validation HR@1 ends less than {number(COLLAPSE)} below its best in {runs}; the largest fall, "
        f"in {_named(worst[0].run)}, is {_numbers(worst[0])}."
    )


def _place(found: Sequence[Course], of: Sequence[Course]) -> str:
    """Return which runs fell, the furthest by name."""
    named = _named(found[0].run)
    if len(of) == 1:
        return f"{named}, the only preference run"
    if len(found) == 1:
        return f"{named}, one of {len(of)} preference runs"
    return f"{len(found)} of {len(of)} preference runs, the largest in {named}"


def _numbers(course: Course) -> str:
    start = f"at step {course.best_step:,}" if course.best_step else "before training"
    at_best, at_last = (number(loss) for loss in course.losses)
    turn = "fell" if course.losses[1] < course.losses[0] else "did not fall:"
    return (
        f"from its best {number(course.best)} {start} to {number(course.last)} at step {course.last_step:,} while the "
        f"training loss {turn} from {at_best} to {at_last}"
    )


def _named(run: Run) -> str:
    setting = run.setting
    rate = f", lr {names.rate(setting.learning_rate)}" if setting.learning_rate is not None else ""
    return f"{names.method(setting)} (K = {setting.negatives}{rate}, seed {run.seed})"


def _others(collapsed: Sequence[Course], fallen: Sequence[Course], courses: Sequence[Course]) -> list[str]:
    """Return what else is to be said of falls."""
    told = []
    if len(collapsed) > 1:
        told.append(f"By method: {_by_method(collapsed, courses)}.")
    if collapsed and fallen:
        told.append(f"{_runs(len(fallen)).capitalize()} fell as far while the training loss did not fall.")
    if recovered := sum(course.recovers for course in courses):
        told.append(f"{_runs(recovered).capitalize()} fell as far on the way and recovered.")
    if by_chance := sum(course.ends_low and not course.falls for course in courses):
        told.append(f"{_runs(by_chance).capitalize()} ended as low, by less than two standard errors.")
    return told


def _by_method(found: Sequence[Course], of: Sequence[Course]) -> str:
    counts, totals = (Counter(names.method(course.run.setting) for course in runs) for runs in (found, of))
    parts = [f"{name} ({count} of {totals[name]})" for name, count in counts.most_common()]
    rest = [f"{len(parts) - _NAMED} more"] if len(parts) > _NAMED else []
    return "; ".join(parts[:_NAMED] + rest)


def _alarms(courses: Sequence[Course]) -> list[str]:
    """Return where the collapse alarm sounds."""
    watched = [course for course in courses if course.alarms is not None]
    if not watched:
        chance = ", so that chance is not ruled out" if any(course.falls for course in courses) else ""
        return [f"CollapseAlarm logged nothing in these runs{chance}."]
    sounded = [course for course in watched if course.alarms]
    logged = f"of {_runs(len(watched))} that logged what it compares"
    if not sounded:
        return [f"By its default rule CollapseAlarm sounds in none {logged}."]
    if len(sounded) == 1:
        steps = " and ".join(f"{step:,}" for step in sounded[0].alarms or ())
        return [f"By its default rule CollapseAlarm sounds in {_named(sounded[0].run)}, at step {steps}."]
    right = sum(course.falls for course in sounded)
    return [
        f"By its default rule CollapseAlarm sounds in {len(sounded)} {logged}; {right} of these end so far "
        "below their best."
    ]


def _runs(count: int) -> str:
    return "one run" if count == 1 else f"{count} runs"


def _table(found: Sequence[Course]) -> Table | None:
    """Return every run that falls, the furthest first."""
    rows = tuple(
        (
            course.run.name,
            names.method(course.run.setting),
            str(course.run.setting.negatives),
            names.rate(course.run.setting.learning_rate),
            str(course.run.seed),
            f"{number(course.best)} at {course.best_step:,}",
            f"{number(course.last)} at {course.last_step:,}",
            signed(-course.fall),
            " → ".join(map(number, course.losses)),
            ", ".join(f"{step:,}" for step in course.alarms or ()),
        )
        for course in found
    )
    head = (
        "",
        "method",
        "K",
        "lr",
        "seed",
        "best, step",
        "last, step",
        "change",
        "train loss",
        "alarm, step",
    )
    note = "Training loss as last logged at the best and at the last validation."
    title = f"Runs whose validation HR@1 ends {number(COLLAPSE, 2)} or more below its best"
    return Table("collapse", title, head, rows, note) if rows else None
