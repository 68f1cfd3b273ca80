"""One HTML page that needs nothing else: no network, no script, no fonts."""

from html import escape

from study.report.document import Figure, Panel, Section, Series, Table
from study.report.figures import COLOURS, INK, RULE, Limits, limits, svg

_DARK = ("#56b4e9", "#ff8a3d", "#19b58a", "#e08fbd", "#e6a817", "#9fd3f2", "#b5b5b5")

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --shade: #f3f5f7; --quiet: #59626d; --link: #005a9c; LIGHT }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --shade: #1e242b; --quiet: #a3adb8; --link: #7cc4f4; DARK }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; line-height: 1.3; }
h3 { font-size: .95rem; margin: 0 0 .25rem; }
a { color: var(--link); }
nav ul { columns: 18rem; padding-left: 1.2rem; }
figure { margin: 1rem 0; } figcaption, caption, .note { color: var(--quiet); font-size: .9rem; text-align: left; }
.panels { display: grid; align-items: end; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.panels svg { display: block; width: 100%; max-width: 30rem; height: auto; font-family: system-ui, sans-serif;
  stroke-linejoin: round; stroke-linecap: butt; }
.scroll { overflow-x: auto; margin: 1rem 0 .25rem; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { font-weight: 600; padding-bottom: .25rem; }
caption span { position: sticky; left: 0; display: inline-block; max-width: calc(100vw - 2rem); }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
td.long { white-space: normal; min-width: 16rem; text-align: left; }
th[scope=row], th:first-child { text-align: left; }
tbody th { font-weight: 500; background: var(--paper); position: sticky; left: 0; min-width: 7rem;
  max-width: 18rem; white-space: normal; overflow-wrap: normal; }
tbody tr:nth-child(even) > * { background: var(--shade); }
summary { cursor: pointer; color: var(--link); font-size: .9rem; }
@media (max-width: 30rem) { tbody th { max-width: 9rem; } }
@media print {
  :root { color-scheme: light; --paper: #ffffff; --shade: #f3f5f7; --quiet: #59626d; LIGHT }
  body { max-width: none; font-size: 10pt; } nav, details { display: none; }
  .panels { grid-template-columns: 1fr 1fr; } .panels > div, tr { break-inside: avoid; }
  .scroll { overflow: visible; } h2 { break-after: avoid; } table { font-size: 8pt; }
}
"""
_LONG = 60  # letters from which a cell may break


def page(sections: list[Section], title: str, lead: list[str], skipped: list[str]) -> str:
    """Writes the page; the same arguments give the same text.

    Args:
        sections: In order.
        title: Heading.
        lead: Paragraphs under it.
        skipped: What was not read, a line each.
    """
    body = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(text)}</p>" for text in lead), _skipped(skipped)]
    body.append(_contents(sections))
    body += [_section(section, place) for place, section in enumerate(sections)]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_style()}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def _style() -> str:
    names = ["--ink", "--rule", *(f"--series-{place}" for place in range(len(COLOURS)))]

    def listed(colours: tuple[str, ...]) -> str:
        return " ".join(f"{name}: {colour};" for name, colour in zip(names, colours, strict=True))

    light, dark = listed((INK, RULE, *COLOURS)), listed(("#e8ecf0", "#3a424c", *_DARK))
    return _STYLE.replace("LIGHT", light).replace("DARK", dark)


def _skipped(lines: list[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>Runs left out: {len(lines)}</summary><ul>{items}</ul></details>"


def _contents(sections: list[Section]) -> str:
    items = "".join(
        f'<li><a href="#s{place}">{escape(section.title)}</a></li>' for place, section in enumerate(sections)
    )
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _section(section: Section, place: int) -> str:
    parts = [
        f'<section id="s{place}">',
        f"<h2>{escape(section.title)}</h2>",
        f"<p>{escape(section.text)}</p>",
    ]
    parts += [_figure(figure, f"s{place}f{number}") for number, figure in enumerate(section.figures)]
    parts += [_table(table) for table in section.tables]
    return "\n".join([*parts, "</section>"])


def _figure(figure: Figure, name: str) -> str:
    shared = limits(figure)
    drawn = [_drawing(panel, f"{name}p{number}", shared) for number, panel in enumerate(figure.panels)]
    values = "\n".join(_table(_values(panel)) for panel in figure.panels)
    return "\n".join(
        [
            "<figure>",
            f'<div class="panels">{"".join(drawn)}</div>',
            f"<figcaption>{escape(figure.caption)}</figcaption>",
            "</figure>",
            f"<details><summary>The figure's values</summary>{values}</details>",
        ]
    )


def _drawing(panel: Panel, name: str, shared: Limits) -> str:
    label = escape(f"{panel.title}. {_said(panel)}", quote=True)
    drawn = svg(panel, name, shared).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return f"<div><h3>{escape(panel.title)}</h3>{drawn}</div>"


def _said(panel: Panel) -> str:
    """A chart in words: where every line begins and ends."""
    lines = [
        f"{one.label}: from {one.y[0]:.3g} at {one.x[0]:g} to {one.y[-1]:.3g} at {one.x[-1]:g}"
        for one in panel.series
    ]
    return f"{panel.y} against {panel.x}. {'; '.join(lines)}."


def _values(panel: Panel) -> Table:
    """A row a place on the horizontal axis, a column a line."""
    places = sorted({x for one in panel.series for x in one.x})
    columns = [dict(zip(one.x, map(_value, *_ends(one)), strict=True)) for one in panel.series]
    rows = tuple((f"{x:g}", *(column.get(x, "") for column in columns)) for x in places)
    return Table("", f"{panel.title}: {panel.y}", (panel.x, *(one.label for one in panel.series)), rows)


def _ends(series: Series) -> tuple[tuple[float | None, ...], ...]:
    nothing = (None,) * len(series.y)
    return series.y, series.low or nothing, series.high or nothing


def _value(y: float | None, low: float | None, high: float | None) -> str:
    return f"{y:.4g}" if low is None else f"{y:.4g} [{low:.4g}, {high:.4g}]"


def _table(table: Table) -> str:
    title = escape(table.title)
    head = "".join(f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in table.head)
    rows = "".join(f"<tr>{_cells(row)}</tr>\n" for row in table.rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title, quote=True)}">'
        f"<table><caption><span>{title}</span></caption>\n<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>{note}"
    )


def _cells(row: tuple[str, ...]) -> str:
    first, *others = row
    kinds = [' class="long"' if len(cell) > _LONG else "" for cell in others]
    cells = [f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, others, strict=True)]
    return f'<th scope="row">{escape(first)}</th>' + "".join(cells)
