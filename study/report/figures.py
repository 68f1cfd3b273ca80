"""Draws figures: each panel as SVG for a page that has light and dark themes, all of them as one PNG."""

import io
import re
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from study.report.document import Figure, Panel, Series

# Okabe and Ito's palette, darkened where a line would not have contrast 3 : 1 with white. The page gives every colour a
# variable of its own, so that a dark theme has the undarkened ones.
INK, RULE = "#1b1f24", "#d4d9df"
COLOURS = ("#0072b2", "#d55e00", "#00805e", "#b3588f", "#9a6a00", "#2a7fb0", "#5d5d5d")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STROKES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 1)))

_SIZE = (4.2, 3.3)  # inches: text keeps a readable size when a panel is as wide as a phone
_COLUMNS = 2
_TITLE, _WIDE = 44, 16  # letters in a line of a title, and in a legend's label that needs a line of its own

Limits = dict[str, tuple[float, float]]  # what a vertical axis shows, to its lowest and highest value

_STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 11,
    "grid.color": RULE,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def variables() -> dict[str, str]:
    """Colour in a drawing to the page's variable for it."""
    return {
        INK: "--ink",
        RULE: "--rule",
        **{colour: f"--series-{place}" for place, colour in enumerate(COLOURS)},
    }


def svg(panel: Panel, name: str, axes: Limits) -> str:
    """Draws a panel as an SVG element, without its title.

    Args:
        panel: What to draw.
        name: Unlike every other panel's on the page: it goes before all ids.
        axes: Of the panel's figure.
    """
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=_SIZE, layout="constrained")
        _draw(canvas, panel, axes)
        file = io.StringIO()
        canvas.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _themed(_inlined(file.getvalue(), name))


def _inlined(text: str, name: str) -> str:
    """Takes off what belongs to a file, and the fixed size; makes ids the panel's own."""
    text = re.sub(r"\s*<(metadata|style)\b.*?</\1>", "", text[text.index("<svg") :], flags=re.DOTALL)
    opening, rest = text.split(">", 1)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    rest = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', rest)
    return f"{opening}>" + re.sub(r'(url\(|href=")#', rf"\1#{name}-", rest)


def _themed(text: str) -> str:
    for colour, variable in variables().items():
        text = text.replace(colour, f"var({variable})")
    return text


def png(figure: Figure, path: Path) -> None:
    """Draws all panels into one file, on white."""
    columns = min(_COLUMNS, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    axes = limits(figure)
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(_SIZE[0] * columns, (_SIZE[1] + 0.4) * rows), layout="constrained")
        FigureCanvasAgg(canvas)
        places = canvas.subfigures(rows, columns, squeeze=False).ravel()
        for place, panel in zip(places, figure.panels, strict=False):
            _draw(place, panel, axes)
            place.suptitle(textwrap.fill(_escaped(panel.title), _TITLE), fontsize=11, fontweight="bold")
        canvas.savefig(path, dpi=150, metadata={"Software": None})


def limits(figure: Figure) -> Limits:
    """What panels of one figure share, to be comparable: the range of every quantity on the vertical axis."""
    found: Limits = {}
    for panel in figure.panels:
        values = np.array([y for one in panel.series for part in (one.y, one.low, one.high) for y in part])
        finite = values[np.isfinite(values)]
        if len(finite):
            low, high = found.get(panel.y, (np.inf, -np.inf))
            found[panel.y] = (min(low, float(finite.min())), max(high, float(finite.max())))
    return found


def _draw(canvas: Canvas | SubFigure, panel: Panel, shared: Limits) -> None:
    axes = canvas.add_subplot()
    for place, series in enumerate(panel.series):
        look = (panel.looks[place] if panel.looks else place) % len(COLOURS)
        style: dict[str, Any] = {
            "color": COLOURS[look],
            "linestyle": _STROKES[look],
            "marker": _MARKERS[look],
            "markersize": 5,
        }
        if panel.ticks:
            # Bars of one place stand beside each other.
            apart = (place - (len(panel.series) - 1) / 2) * 0.012 * (panel.ticks[-1] - panel.ticks[0])
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
    _scale(axes, panel, shared.get(panel.y))
    wide = max(len(one.label) for one in panel.series) > _WIDE
    canvas.legend(loc="outside lower center", ncols=1 if wide else min(3, len(panel.series)))


def _scale(axes: Axes, panel: Panel, shared: tuple[float, float] | None) -> None:
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    if panel.ticks:
        axes.set_xticks(panel.ticks, [f"{tick:g}" for tick in panel.ticks])
    if shared is not None and shared[0] < shared[1]:
        room = 0.05 * (shared[1] - shared[0])
        axes.set_ylim(shared[0] - room, shared[1] + room)


def _bars(series: Series) -> list[list[float]] | None:
    """Lengths of the bars; a mean of equal values may lie beside them by a rounding error."""
    if not series.low:
        return None
    below = [max(0.0, y - low) for y, low in zip(series.y, series.low, strict=True)]
    return [below, [max(0.0, high - y) for y, high in zip(series.y, series.high, strict=True)]]


def _escaped(text: str) -> str:
    """A dollar sign would begin a formula."""
    return text.replace("$", r"\$")
