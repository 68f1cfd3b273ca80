"""Measurements as the JSON that others read and as tables for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import Measurement


@dataclass(frozen=True)
class Row:
    """All ways at one K.

    Attributes:
        ours: Reference live.
        cached: Reference known.
        usual: None where it ran out of memory.
        trl: K = 1 alone; None elsewhere, where it ran out of memory, and where TRL is not installed.
    """

    ours: Measurement
    cached: Measurement
    usual: Measurement | None
    trl: Measurement | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Flat, for JSON: speed-ups are usual / ours, the ratio of memory is ours / usual."""
        ours, cached, usual = self.ours, self.cached, self.usual
        return {
            "ours_s": ours.seconds,
            "ours_cached_s": cached.seconds,
            "usual_s": usual.seconds if usual else None,
            "speedup": usual.seconds / ours.seconds if usual else None,
            "speedup_cached": usual.seconds / cached.seconds if usual else None,
            "ours_mb": ours.peak_mb,
            "usual_mb": usual.peak_mb if usual else None,
            "memory_ratio": ours.peak_mb / usual.peak_mb if usual else None,
        }


Rows = dict[int, Row]

_HEAD = (
    "K",
    "ours, s",
    "cached, s",
    "usual, s",
    "speed-up",
    "cached",
    "ours, MB",
    "usual, MB",
    "ours / usual",
    "tokens, ours",
    "usual",
    "tokens/s, ours",
    "usual",
)


def table(rows: Rows) -> str:
    """Renders one model's rows as a Markdown table."""
    return markdown(_HEAD, [_cells(k, row) for k, row in rows.items()])


def _cells(k: int, row: Row) -> list[str]:
    values = row.as_dict()
    seconds = [number(values[name], 3) for name in ("ours_s", "ours_cached_s", "usual_s")]
    ratios = [number(values[name], 1, " ×") for name in ("speedup", "speedup_cached")]
    memory = [number(values[name], 0) for name in ("ours_mb", "usual_mb")]
    usual = row.usual
    return [
        str(k),
        *seconds,
        *ratios,
        *memory,
        number(values["memory_ratio"], 2),
        str(row.ours.tokens),
        number(usual.tokens if usual else None, 0),
        number(row.ours.tokens / row.ours.seconds, 0),
        number(usual.tokens / usual.seconds if usual else None, 0),
    ]


def bars(rows: Rows) -> str:
    """Renders the ratios that the step is judged by; a line is there where its measurements are."""
    lines = []
    one, fifteen = rows.get(1), rows.get(15)
    if fifteen and fifteen.usual:
        lines.append(("K = 15, usual / ours", fifteen.usual.seconds / fifteen.ours.seconds, "≥ 15"))
        lines.append(("K = 15, usual / ours cached", fifteen.usual.seconds / fifteen.cached.seconds, "≥ 20"))
        lines.append(
            ("K = 15, peak memory, ours / usual", fifteen.ours.peak_mb / fifteen.usual.peak_mb, "≤ 0.2")
        )
    if one and fifteen:
        ratio, tokens = fifteen.ours.seconds / one.ours.seconds, fifteen.ours.tokens / one.ours.tokens
        lines.append(("ours, K = 15 / K = 1, time", ratio, "≤ 1.7"))
        lines.append(("ours, K = 15 / K = 1, time over tokens", ratio / tokens, "≤ 1.2"))
    if one and one.trl:
        lines.append(("K = 1, TRL / ours", one.trl.seconds / one.ours.seconds, "≥ 3"))
    if one and one.trl and fifteen:
        lines.append(("ours at K = 15 / TRL at K = 1", fifteen.ours.seconds / one.trl.seconds, "≤ 0.6"))
    if fifteen and fifteen.ours.selection_s:
        share = fifteen.ours.selection_s / fifteen.ours.seconds
        lines.append(("K = 15, selection and β / step", share, "≤ 0.01"))
    return markdown(
        ("ratio", "measured", "wanted"), [[name, number(value, 4), bar] for name, value, bar in lines]
    )


def trl_line(rows: Rows) -> str:
    """Says what TRL's trainer took."""
    trl = rows[1].trl if 1 in rows else None
    if trl is None:
        return "TRL's DPOTrainer was not measured."
    return (
        f"TRL's DPOTrainer at K = 1: {trl.seconds:.3f} s, {trl.peak_mb:.0f} MB, {trl.tokens} tokens, "
        f"{trl.tokens / trl.seconds:.0f} tokens/s."
    )


def number(value: float | None, digits: int, unit: str = "") -> str:
    """Renders a number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def markdown(head: Sequence[str], body: list[list[str]]) -> str:
    """Renders a table; numbers stand at the right."""
    widths = [max(len(row[column]) for row in [list(head), *body]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([line(head), rule, *map(line, body)])
