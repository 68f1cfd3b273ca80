"""The parts of a report, as data from which HTML, Markdown and PNG are made."""

import math
from dataclasses import dataclass, replace

from study.estimates import Estimate


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        name: Of the table, in small letters and hyphens: what a Markdown page asks for.
        title: Its caption.
        head: Of the columns.
        rows: As wide as the head; the first cell names the row.
        note: What holds for all of it.
    """

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Series:
    """A line of a panel.

    Attributes:
        label: In the legend.
        x: Ascending.
        y: As many.
        low: Lower end of an interval or range, as many; empty without.
        high: Upper end.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """A chart.

    Attributes:
        title: Above it.
        x: What the horizontal axis shows.
        y: What the vertical axis shows.
        series: The lines, of which there is at least one.
        ticks: Values on the horizontal axis; empty lets them be chosen. With ticks, ranges are bars, else bands.
        looks: Each line's place among colours, strokes and marks, so that it looks alike in every panel; empty
            numbers them.
        share: Whether the vertical axis shows a share, which lies between 0 and 1.
    """

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    ticks: tuple[float, ...] = ()
    looks: tuple[int, ...] = ()
    share: bool = False


@dataclass(frozen=True)
class Figure:
    """Charts under one caption.

    Attributes:
        name: Of its PNG, in small letters and hyphens.
        caption: What it shows, and what its ranges are.
        panels: At least one.
    """

    name: str
    caption: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: Its heading.
        text: What is asked and how it is answered.
        figures: Perhaps none.
        tables: Perhaps none.
        group: The data set that it is about; empty where the report has only one.
    """

    title: str
    text: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Verdict:
    """The first thing that a report says.

    Attributes:
        kind: `collapse`, `none`, or `unknown` where there is nothing to judge.
        sentence: The verdict with its numbers.
        more: Further sentences.
        table: The runs that it is about; None without any.
    """

    kind: str
    sentence: str
    more: tuple[str, ...] = ()
    table: Table | None = None


def filled(table: Table) -> Table:
    """Return the table without columns that are empty in every row."""
    kept = [place for place in range(len(table.head)) if place == 0 or any(row[place] for row in table.rows)]
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return replace(table, head=tuple(table.head[place] for place in kept), rows=rows)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number as .521 or −1.250; empty for None."""
    if value is None:
        return ""
    if math.isnan(value):
        return "NaN"
    text = f"{abs(value):.{digits}f}"
    sign = "−" if value < 0 else ""
    return sign + (text[1:] if text.startswith("0.") else text)


def signed(value: float) -> str:
    """Write a difference as +.018 or −.003."""
    return ("+" if value >= 0 else "−") + number(abs(value))


def interval(estimate: Estimate) -> str:
    """Write a mean and its interval, where there is one."""
    mean = number(estimate.mean)
    return mean if math.isnan(estimate.low) else f"{mean} [{number(estimate.low)}, {number(estimate.high)}]"


def difference(estimate: Estimate) -> str:
    """Write a difference and its interval, where there is one."""
    mean = signed(estimate.mean)
    return mean if math.isnan(estimate.low) else f"{mean} [{signed(estimate.low)}, {signed(estimate.high)}]"


def probability(p: float) -> str:
    """Write a p-value; empty for NaN."""
    if math.isnan(p):
        return ""
    return "< .001" if p < 0.001 else number(p)
