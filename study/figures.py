"""Draws figures: each panel as SVG for a page that has light and dark themes, all of them as one PNG."""

import io
import re
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from study.document import Figure, Panel, Series

# Okabe and Ito's palette, darkened where a line would not have contrast 3 : 1 with white. The page gives every colour a
# variable of its own, so that a dark theme has the undarkened ones.
INK, RULE = "#1b1f24", "#d4d9df"
COLOURS = ("#0072b2", "#d55e00", "#00805e", "#b3588f", "#9a6a00", "#2a7fb0", "#5d5d5d")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STROKES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 1)))

_SIZE = (4.2, 3.3)  # inches: text keeps a readable size when a panel is as wide as a phone
_COLUMNS = 2
_STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
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


def svg(panel: Panel, name: str) -> str:
    """Draws a panel as an SVG element.

    Args:
        panel: What to draw.
        name: Unlike every other panel's on the page: it goes before all ids.
    """
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=_SIZE, layout="constrained")
        _draw(canvas.add_subplot(), panel)
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
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(_SIZE[0] * columns, _SIZE[1] * rows), layout="constrained")
        FigureCanvasAgg(canvas)
        for place, panel in enumerate(figure.panels):
            _draw(canvas.add_subplot(rows, columns, place + 1), panel)
        canvas.savefig(path, dpi=150, metadata={"Software": None})


def _draw(axes: Axes, panel: Panel) -> None:
    for place, series in enumerate(panel.series):
        look = place % len(COLOURS)
        style = {
            "color": COLOURS[look],
            "linestyle": _STROKES[look],
            "marker": _MARKERS[look],
            "markersize": 5,
        }
        if panel.ticks:
            # Bars of one place stand beside each other.
            apart = (place - (len(panel.series) - 1) / 2) * 0.012 * (panel.ticks[-1] - panel.ticks[0])
            x = [value + apart for value in series.x]
            axes.errorbar(x, series.y, yerr=_bars(series), label=series.label, capsize=3, **style)
        else:
            axes.plot(series.x, series.y, label=series.label, markevery=max(1, len(series.x) // 6), **style)
            if series.low:
                axes.fill_between(
                    series.x, series.low, series.high, color=COLOURS[look], alpha=0.15, linewidth=0
                )
    axes.set_title(_escaped(panel.title))
    axes.set(xlabel=_escaped(panel.x), ylabel=_escaped(panel.y))
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    if panel.ticks:
        axes.set_xticks(panel.ticks, [f"{tick:g}" for tick in panel.ticks])
    axes.legend(ncols=2 if len(panel.series) > 3 else 1)


def _bars(series: Series) -> list[list[float]] | None:
    if not series.low:
        return None
    below = [y - low for y, low in zip(series.y, series.low, strict=True)]
    return [below, [high - y for y, high in zip(series.y, series.high, strict=True)]]


def _escaped(text: str) -> str:
    """A dollar sign would begin a formula."""
    return text.replace("$", r"\$")
