"""Time and memory against K, from the JSON of `benchmarks.step`.

python -m benchmarks.plot RESULTS.json FIGURE.png
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

Points = dict[str, dict[str, float | None]]

_SERIES = {
    "s": (
        ("usual_s", "usual way"),
        ("ours_s", "ours, live reference"),
        ("ours_cached_s", "ours, cached reference"),
    ),
    "mb": (("usual_mb", "usual way"), ("ours_mb", "ours, live reference")),
}
_COLOURS = {"usual": "#b2432f", "ours": "#20639b", "ours_cached": "#3caea3"}


def draw(results: dict[str, Points], path: Path) -> None:
    """Draws a row of two panels for each model.

    Args:
        results: Model → K → numbers.
        path: The PNG to write.
    """
    figure, axes = plt.subplots(len(results), 2, figsize=(9, 3.4 * len(results)), squeeze=False)
    for row, (model, points) in zip(axes, results.items(), strict=True):
        _panel(row[0], points, "s", f"{model}: one preference step", "seconds")
        _panel(row[1], points, "mb", f"{model}: peak memory", "GB")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels))
    figure.tight_layout(rect=(0, 0.13 / len(results), 1, 1))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axes: Axes, points: Points, unit: str, title: str, label: str) -> None:
    negatives = sorted(map(int, points))
    for name, legend in _SERIES[unit]:
        scale = 1024 if unit == "mb" else 1
        values = [(k, points[str(k)][name]) for k in negatives]
        known = [(k, value / scale) for k, value in values if value is not None]
        colour = _COLOURS[name.rsplit("_", 1)[0]]
        axes.plot([k for k, _ in known], [value for _, value in known], "o-", label=legend, color=colour)
    for k in negatives:
        if points[str(k)][f"usual_{unit}"] is None:
            axes.axvline(k, color=_COLOURS["usual"], linestyle=":")
            place = axes.get_xaxis_transform()
            axes.text(
                k - 0.15,
                0.5,
                "usual way: out of memory",
                rotation=90,
                ha="right",
                va="center",
                transform=place,
            )
    axes.margins(y=0.2)
    axes.set(title=title, xlabel="negatives per prompt, K", ylabel=label, xticks=negatives, ylim=(0, None))
    axes.grid(alpha=0.3)


def main() -> None:
    """Draws what the arguments say."""
    source, target = map(Path, sys.argv[1:])
    draw(json.loads(source.read_text()), target)


if __name__ == "__main__":
    main()
