"""How the page looks: light, dark, on a phone and on paper."""

from study.report.figures import COLOURS, INK, RULE

_DARK = ("#56b4e9", "#ff8a3d", "#19b58a", "#e08fbd", "#e6a817", "#9fd3f2", "#b5b5b5")

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --shade: #f3f5f7; --quiet: #59626d; --link: #005a9c;
  --bad: #b3261e; --good: #1a6b3c; LIGHT }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --shade: #1e242b; --quiet: #a3adb8; --link: #7cc4f4;
    --bad: #ff9a90; --good: #6fd39a; DARK }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.35rem; margin: 3.5rem 0 .25rem; line-height: 1.3; }
h2 small { display: block; color: var(--quiet); font-size: .85rem; font-weight: 500; }
h3 { font-size: .95rem; margin: 0 0 .25rem; }
h2 + p { margin-top: 0; }
p, figcaption, li { max-width: 46rem; }
a { color: var(--link); }
.verdict { border-left: .3rem solid var(--quiet); background: var(--shade); padding: 1rem 1.25rem;
  margin: 0 0 1.25rem; }
.verdict.collapse { border-color: var(--bad); } .verdict.none { border-color: var(--good); }
.verdict p { margin: .35rem 0; max-width: 60rem; }
.verdict .sentence { font-size: 1.15rem; line-height: 1.45; font-weight: 600; margin-top: 0; }
nav { columns: 15rem; column-gap: 2rem; margin: 1.5rem 0; border-top: 1px solid var(--rule); padding-top: .75rem; }
nav p { margin: 0; padding-top: .25rem; font-weight: 600; font-size: .9rem; break-after: avoid;
  break-inside: avoid; }
nav ul { list-style: none; margin: 0 0 .5rem; padding: 0; } nav li { padding: .1rem 0; break-inside: avoid; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
figcaption, caption, .note { color: var(--quiet); font-size: .9rem; text-align: left; }
.panels { display: grid; align-items: end; gap: 1.5rem; margin: 1.25rem 0 .75rem; max-width: 60rem; }
.panels svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif; overflow: visible;
  stroke-linejoin: round; stroke-linecap: butt; }
@media (min-width: 44rem) {
  .panels { grid-template-columns: repeat(2, minmax(0, 1fr)); } .panels figcaption { grid-column: 1 / -1; }
  .panels.open figcaption { grid-column: auto; align-self: center; }
}
@media (min-width: 60rem) {
  .panels.columns-3 { grid-template-columns: repeat(3, minmax(0, 1fr)); max-width: none; }
  .panels.columns-3 figcaption { grid-column: 1 / -1; }
}
.scroll { overflow-x: auto; margin: 1.25rem 0 .25rem; max-width: 100%; width: fit-content; }
.tall { overflow-y: auto; max-height: 34rem; border-bottom: 1px solid var(--rule); }
.tall thead > tr > * { position: sticky; top: 0; background: var(--paper); z-index: 1; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: separate; border-spacing: 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { font-weight: 600; padding-bottom: .25rem; }
caption span { position: sticky; left: 0; display: inline-block; max-width: calc(100vw - 2rem); }
th, td { padding: .3rem .65rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
td.long { white-space: normal; min-width: 20rem; } td.text, td.long, th.text { text-align: left; }
th[scope=row], th:first-child { text-align: left; }
tbody th { font-weight: 500; background: var(--paper); position: sticky; left: 0; min-width: 7rem;
  max-width: 18rem; white-space: normal; overflow-wrap: anywhere; }
tbody tr:nth-child(even) > * { background: var(--shade); }
.verdict thead > tr > *, .verdict tbody tr > * { background: var(--shade); }
summary { cursor: pointer; color: var(--link); font-size: .9rem; }
@media (min-width: 60rem) { tbody th:not(.long) { white-space: nowrap; max-width: none; } }
@media (max-width: 30rem) { body { padding-top: 1rem; } tbody th { max-width: 8.5rem; }
  .verdict { margin-inline: -1rem; padding-inline: .8rem 1rem; } }
@media print {
  :root { color-scheme: light; --paper: #ffffff; --shade: #f3f5f7; --quiet: #59626d; --bad: #b3261e; --good: #1a6b3c;
    LIGHT }
  body { max-width: none; padding: 0; font-size: 10pt; } nav, details { display: none; } h2 { margin-top: 1.5rem; }
  .panels { grid-template-columns: 1fr 1fr; } .panels.columns-3 { grid-template-columns: 1fr 1fr 1fr; gap: .75rem; }
  .panels figcaption { grid-column: 1 / -1; } .panels.open:not(.columns-3) figcaption { grid-column: auto; }
  .panels > div, tr, .verdict { break-inside: avoid; }
  .scroll { overflow: visible; max-height: none; } h2, h2 + p, caption { break-after: avoid; }
  h2 { break-inside: avoid; }
  table { font-size: 7.5pt; } th, td { padding: .2rem .35rem; } tbody th, td { white-space: normal; }
  .tall thead > tr > *, tbody th { position: static; } td.long { min-width: 0; }
}
"""


def style() -> str:
    """Return the style sheet: every colour is a variable, of which there is a light and a dark one."""
    names = ["--ink", "--rule", *(f"--series-{place}" for place in range(len(COLOURS)))]

    def listed(colours: tuple[str, ...]) -> str:
        return " ".join(f"{name}: {colour};" for name, colour in zip(names, colours, strict=True))

    light, dark = listed((INK, RULE, *COLOURS)), listed(("#e8ecf0", "#3a424c", *_DARK))
    return _STYLE.replace("LIGHT", light).replace("DARK", dark)
