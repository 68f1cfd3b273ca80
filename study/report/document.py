"""What a report consists of: sections of tables and figures, as data that HTML, Markdown and PNG are made from."""

from dataclasses import dataclass

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
    """

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    ticks: tuple[float, ...] = ()
    looks: tuple[int, ...] = ()


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
    """

    title: str
    text: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()


def number(value: float | None, digits: int = 3) -> str:
    """A share, as .521; empty for None."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and text.lstrip("-").startswith("0.") else text


def signed(value: float) -> str:
    """A difference, as +.018 or −.003."""
    return ("+" if value >= 0 else "−") + number(abs(value))


def interval(estimate: Estimate) -> str:
    """A mean and its interval."""
    return f"{number(estimate.mean)} [{number(estimate.low)}, {number(estimate.high)}]"


def difference(estimate: Estimate) -> str:
    """A difference and its interval."""
    return f"{signed(estimate.mean)} [{signed(estimate.low)}, {signed(estimate.high)}]"


def probability(p: float) -> str:
    """A p-value."""
    return "< .001" if p < 0.001 else number(p)
