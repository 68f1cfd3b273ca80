"""Draw figures: each panel as SVG with the page's colours, all panels as one PNG."""

import io
import math
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from study.report.document import Figure, Panel, Series

# Okabe and Ito's palette, darkened where a line would not have contrast 3 : 1 with white. The page gives every colour a
# variable of its own, so that a dark theme has the undarkened ones.
INK, RULE = "#1b1f24", "#d4d9df"
COLOURS = ("#0072b2", "#d55e00", "#00805e", "#b3588f", "#9a6a00", "#2a7fb0", "#5d5d5d")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STROKES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 1)))

_SIZE = (4.2, 3.1)  # inches: text keeps a readable size when a panel is as wide as a phone
_TITLE, _WIDE = 44, 16  # letters in a line of a title, and in a legend's label that needs a line of its own
_MOST_COLUMNS = 3
_ROOM = 0.05  # of an axis, beyond the lowest and the highest value

Limits = dict[str, tuple[float, float]]  # what an axis shows, to its lowest and highest value


@dataclass(frozen=True)
class Shared:
    """What panels of one figure share, to be comparable: the range of every quantity on an axis.

    Attributes:
        x: Of horizontal axes.
        y: Of vertical axes.
    """

    x: Limits
    y: Limits


class _Ticks(ScalarFormatter):
    """Format ticks as tables write numbers: .54 and −.02."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return re.sub(r"^(−?)0\.", r"\1.", super().__call__(x, pos))


_FINE = re.compile(r"(\.\d)\d+")  # digits of a coordinate that no screen shows
_STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10.5,
    "font.size": 10,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def variables() -> dict[str, str]:
    """Return the page's variable for every colour of a drawing."""
    return {
        INK: "--ink",
        RULE: "--rule",
        **{colour: f"--series-{place}" for place, colour in enumerate(COLOURS)},
    }


def svg(panel: Panel, name: str, axes: Shared) -> str:
    """Draw a panel as an SVG element, without its title.

    Args:
        panel: What to draw.
        name: Prefix of all ids, unique on the page.
        axes: What the panel's figure shares.
    """
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=_SIZE, layout="constrained")
        draw(canvas, panel, axes)
        file = io.StringIO()
        canvas.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _themed(_inlined(file.getvalue(), name))


def _inlined(text: str, name: str) -> str:
    """Take off what belongs to a file, the fixed size and what nothing refers to; make ids the panel's own."""
    text = re.sub(r"\s*<(metadata|style)\b.*?</\1>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->|(?<=<g) id=\"[^\"]*\"|\n\s*(?=<)", "", text)
    opening, rest = text.split(">", 1)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    rest = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', rest)
    rest = re.sub(r'(url\(|href=")#', rf"\1#{name}-", rest)
    return f"{opening}>" + re.sub(r'(?<= [dxy]=")[^"]*', lambda path: _FINE.sub(r"\1", path[0]), rest)


def _themed(text: str) -> str:
    for colour, variable in variables().items():
        text = text.replace(colour, f"var({variable})")
    return text


def png(figure: Figure, path: Path) -> None:
    """Draw all panels into one file, on white."""
    columns = columns_of(figure)
    rows = -(-len(figure.panels) // columns)
    axes = shared_axes(figure)
    width = _SIZE[0] * min(columns, 2) / columns + 0.5 * (columns > 2)
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(width * columns, (_SIZE[1] + 0.4) * rows), layout="constrained")
        FigureCanvasAgg(canvas)
        places = canvas.subfigures(rows, columns, squeeze=False).ravel()
        for place, panel in zip(places, figure.panels, strict=False):
            draw(place, panel, axes)
            place.suptitle(textwrap.fill(_escaped(panel.title), _TITLE), fontsize=10.5, fontweight="bold")
        for place in places[len(figure.panels) :]:
            place.text(0.05, 0.9, textwrap.fill(_escaped(figure.caption), _TITLE), va="top")
        canvas.savefig(path, dpi=150, metadata={"Software": None})


def columns_of(figure: Figure) -> int:
    """Return how many panels stand beside each other: pairs, or all three."""
    return len(figure.panels) if len(figure.panels) <= _MOST_COLUMNS else 2


def shared_axes(figure: Figure) -> Shared:
    """Return what the axes of a figure's panels share."""
    return Shared(_spans(figure), limits(figure))


def limits(figure: Figure) -> Limits:
    """Return the range of every quantity on a vertical axis."""
    return _joined(
        (panel.y, [y for one in panel.series for part in (one.y, one.low, one.high) for y in part])
        for panel in figure.panels
    )


def _spans(figure: Figure) -> Limits:
    """Return the range of every quantity on a horizontal axis."""
    return _joined((panel.x, [x for one in panel.series for x in one.x]) for panel in figure.panels)


def _joined(values_of: Iterable[tuple[str, list[float]]]) -> Limits:
    found: Limits = {}
    for name, values in values_of:
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            low, high = found.get(name, (math.inf, -math.inf))
            found[name] = (min(low, *finite), max(high, *finite))
    return found


def draw(canvas: Canvas | SubFigure, panel: Panel, shared: Shared) -> None:
    """Draw a panel without its title.

    Args:
        canvas: Where.
        panel: What.
        shared: What the panel's figure shares.
    """
    axes = canvas.add_subplot()
    left, right = shared.x.get(panel.x, (0.0, 1.0))
    for place, series in enumerate(panel.series):
        look = (panel.looks[place] if panel.looks else place) % len(COLOURS)
        style: dict[str, Any] = {
            "color": COLOURS[look],
            "linestyle": _STROKES[look],
            "marker": _MARKERS[look],
            "markersize": 5,
            "clip_on": False,  # a marker at the end of an axis, as a share of 0, is shown whole
        }
        if panel.ticks:
            # Bars of one place stand beside each other.
            apart = (place - (len(panel.series) - 1) / 2) * 0.012 * (right - left)
            x = [value + apart for value in series.x]
            axes.errorbar(x, series.y, yerr=_bars(series), label=_escaped(series.label), capsize=3, **style)
        else:
            every = max(1, len(series.x) // 6)
            axes.plot(series.x, series.y, label=_escaped(series.label), markevery=every, **style)
            if series.low:
                axes.fill_between(
                    series.x, series.low, series.high, color=COLOURS[look], alpha=0.15, linewidth=0
                )
    axes.set(xlabel=_escaped(panel.x), ylabel=_escaped(panel.y))
    _scale(axes, panel, shared)
    wide = max(len(one.label) for one in panel.series) > _WIDE
    canvas.legend(loc="outside lower center", ncols=1 if wide else min(3, len(panel.series)))


def _scale(axes: Axes, panel: Panel, shared: Shared) -> None:
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(_Ticks(useOffset=False))
    if panel.ticks:
        axes.set_xticks(panel.ticks, [f"{tick:g}" for tick in panel.ticks])
    if panel.x in shared.x:
        axes.set_xlim(*_roomy(*shared.x[panel.x]))
    if panel.y in shared.y:
        low, high = _roomy(*shared.y[panel.y])
        axes.set_ylim(*((max(low, 0.0), min(high, 1.0)) if panel.share else (low, high)))


def _roomy(low: float, high: float) -> tuple[float, float]:
    """Return an axis around values; around one value it is not empty."""
    room = _ROOM * (high - low) or max(_ROOM * abs(high), _ROOM)
    return low - room, high + room


def _bars(series: Series) -> list[list[float]] | None:
    """Return the lengths of the bars, NaN for none; a mean of equal values may lie beside them by a rounding error."""
    if not series.low:
        return None
    pairs = [(series.y, series.low), (series.high, series.y)]
    return [[_length(end - start) for end, start in zip(*pair, strict=True)] for pair in pairs]


def _length(length: float) -> float:
    return length if math.isnan(length) else max(0.0, length)


def _escaped(text: str) -> str:
    """Escape dollar signs, which would start a formula."""
    return text.replace("$", r"\$")
