"""One HTML page that needs nothing else: no network, no script, no fonts."""

import math
import re
from collections.abc import Iterable
from html import escape

from study.report.cells import grouped
from study.report.document import Figure, Panel, Section, Series, Table, Verdict, filled, number
from study.report.figures import Shared, columns_of, shared_axes, svg
from study.report.style import style

_LONG = 60  # letters from which a cell may break
_NAME = 38  # letters from which a row's name may
_TALL = 40  # rows from which a table scrolls by itself
_TIED = re.compile(r"(?<=\d) (?=%)|(?<=\w) (?==)|(?<==) (?=[\d.])|(?<=\blr) (?=[\d.])")
_PARTS = re.compile(r"(?<=[/_-])(?=\w)")
_NUMBER = re.compile(r"(< )?[−+]?[\d,]*\.?\d+(e[-+]?\d+)?,?(\s.*)?|NaN|")


def page(sections: list[Section], title: str, verdict: Verdict, lead: list[str], skipped: list[str]) -> str:
    """Write the page; the same arguments give the same text.

    Args:
        sections: In order.
        title: Heading.
        verdict: What stands under it.
        lead: Paragraphs below the verdict.
        skipped: What was not read, a line each.
    """
    body = [f"<h1>{escape(title)}</h1>", _verdict(verdict)]
    body += [f'<p class="note">{_text(text)}</p>' for text in lead]
    body += [_skipped(skipped), _contents(sections)]
    body += [_section(section, place) for place, section in enumerate(sections)]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{style()}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def _verdict(verdict: Verdict) -> str:
    more = "".join(f"<p>{_text(text)}</p>" for text in verdict.more)
    runs = ""
    if verdict.table is not None:
        count = len(verdict.table.rows)
        runs = f"<details><summary>Which runs: {count}</summary>{_table(verdict.table)}</details>"
    return (
        f'<section class="verdict {verdict.kind}" aria-label="Verdict">'
        f'<p class="sentence">{_text(verdict.sentence)}</p>{more}{runs}</section>'
    )


def _skipped(lines: list[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>Runs left out: {len(lines)}</summary><ul>{items}</ul></details>"


def _contents(sections: list[Section]) -> str:
    lists = []
    for group, own in grouped(enumerate(sections), lambda pair: pair[1].group).items():
        links = "".join(f'<li><a href="#s{place}">{escape(section.title)}</a></li>' for place, section in own)
        lists.append(f"<div>{group and f'<p>{escape(group)}</p>'}<ul>{links}</ul></div>")
    return f'<nav aria-label="Contents">{"".join(lists)}</nav>'


def _text(text: str) -> str:
    """Escape a text, and keep on one line what belongs together, such as 95 % and K = 15."""
    return escape(_TIED.sub("\N{NO-BREAK SPACE}", text))


def _section(section: Section, place: int) -> str:
    group = f"<small>{escape(section.group)}</small> " if section.group else ""
    parts = [
        f'<section id="s{place}">',
        f"<h2>{group}{escape(section.title)}</h2>",
        f"<p>{_text(section.text)}</p>",
    ]
    parts += [_figure(figure, f"s{place}f{number}") for number, figure in enumerate(section.figures)]
    parts += [_table(table) for table in section.tables]
    return "\n".join([*parts, "</section>"])


def _figure(figure: Figure, name: str) -> str:
    axes = shared_axes(figure)
    drawn = [_drawing(panel, f"{name}p{place}", axes) for place, panel in enumerate(figure.panels)]
    values = "\n".join(_table(_values(panel)) for panel in figure.panels)
    kind = f"panels columns-{columns_of(figure)}"
    if len(figure.panels) % max(2, columns_of(figure)):
        kind += " open"  # the caption takes the place that the last row has left
    return "\n".join(
        [
            f'<figure class="{kind}">',
            *drawn,
            f"<figcaption>{_text(figure.caption)}</figcaption>",
            "</figure>",
            f"<details><summary>The figure's values</summary>{values}</details>",
        ]
    )


def _drawing(panel: Panel, name: str, axes: Shared) -> str:
    label = escape(f"{panel.title}. {_said(panel)}", quote=True)
    drawn = svg(panel, name, axes).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return f"<div><h3>{escape(panel.title)}</h3>{drawn}</div>"


def _said(panel: Panel) -> str:
    """Describe a chart in words: where every line begins and ends."""
    lines = [
        f"{one.label}: from {number(one.y[0])} at {_place(one.x[0])} to {number(one.y[-1])} at {_place(one.x[-1])}"
        for one in panel.series
    ]
    return f"{panel.y} against {panel.x}. {'; '.join(lines)}."


def _values(panel: Panel) -> Table:
    """Return a row a place on the horizontal axis, a column a line."""
    places = sorted({x for one in panel.series for x in one.x})
    columns = [dict(zip(one.x, map(_value, *_ends(one)), strict=True)) for one in panel.series]
    rows = tuple((_place(x), *(column.get(x, "") for column in columns)) for x in places)
    return Table("", f"{panel.title}: {panel.y}", (panel.x, *(one.label for one in panel.series)), rows)


def _ends(series: Series) -> tuple[tuple[float | None, ...], ...]:
    nothing = (None,) * len(series.y)
    return series.y, series.low or nothing, series.high or nothing


def _value(y: float | None, low: float | None, high: float | None) -> str:
    if low is None or math.isnan(low):
        return number(y)
    return f"{number(y)} [{number(low)}, {number(high)}]"


def _place(x: float) -> str:
    """Write a place on a horizontal axis: a step, a K or a setting."""
    return f"{x:,.0f}" if x.is_integer() else f"{x:g}"


def _table(table: Table) -> str:
    table = filled(table)
    texts = [place for place, column in enumerate(zip(*table.rows, strict=True)) if not _is_numeric(column)]
    kind = "scroll tall" if len(table.rows) > _TALL else "scroll"
    head = "".join(_heading(name, place in texts) for place, name in enumerate(table.head))
    rows = "".join(f"<tr>{_cells(row, texts)}</tr>\n" for row in table.rows)
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ""
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{escape(table.title, quote=True)}">'
        f"<table><caption><span>{_text(table.title)}</span></caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>{note}"
    )


def _is_numeric(column: Iterable[str]) -> bool:
    return all(_NUMBER.fullmatch(cell) for cell in column)


def _heading(name: str, is_text: bool) -> str:
    return f'<th scope="col"{_kind("text" if is_text else "")}>{escape(name)}</th>' if name else "<td></td>"


def _cells(row: tuple[str, ...], texts: list[int]) -> str:
    cells = [f'<th scope="row"{_kind("long" if len(row[0]) > _NAME else "")}>{_breakable(row[0])}</th>']
    for place, cell in enumerate(row[1:], 1):
        kind = "long" if len(cell) > _LONG else "text" if place in texts else ""
        cells.append(f"<td{_kind(kind)}>{escape(cell)}</td>")
    return "".join(cells)


def _breakable(name: str) -> str:
    """Escape the name of a row, which may break behind a slash, a dash or an underscore, as in a run's folder."""
    return "<wbr>".join(escape(part) for part in _PARTS.split(name))


def _kind(name: str) -> str:
    return f' class="{name}"' if name else ""
