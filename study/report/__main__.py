"""Write a report of finished runs: one HTML page, a PNG for each figure, and Markdown tables.

    python -m study.report outputs/quickstart

OUTPUTS are folders to search for runs, or folders of results that `--store` wrote. Nothing is trained and no network is
used. Exit status 0, or 2 if no run can be read.
"""

import argparse
import sys
from pathlib import Path

from datamodules.errors import InputError
from datamodules.output_streams import outlive_readers
from study.collect import collect
from study.report import figures, names
from study.report.cells import Cell, cells_of
from study.report.document import Section, Verdict
from study.report.markdown import fill, markdown
from study.report.page import page
from study.report.sections import sections_of
from study.report.verdict import verdict
from study.store import store

TITLE = "Negatives, loss and accuracy"
_INTERVALS = (
    "Test metrics are of the checkpoint that each run predicted with. Intervals have 95 % coverage: they add the "
    "variance over users, whose examples are dependent, to that over seeds (Student's t, with Welch and "
    "Satterthwaite's degrees of freedom), and those of shares end at 0 and 1. With one seed they say nothing about "
    "other seeds."
)


def write(sections: list[Section], found: Verdict, skipped: list[str], lead: list[str], folder: Path) -> None:
    """Write `index.html`, `tables.md` and a PNG a figure."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page(sections, TITLE, found, lead, skipped), encoding="utf-8")
    (folder / "tables.md").write_text(markdown(sections), encoding="utf-8")
    for figure in (figure for section in sections for figure in section.figures):
        figures.png(figure, folder / f"{figure.name}.png")


def main(args: list[str] | None = None) -> int:
    """Write the report.

    Args:
        args: Arguments to parse; None takes the process's.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m study.report", description=__doc__.splitlines()[0])
    parser.add_argument(
        "outputs",
        type=Path,
        nargs="+",
        metavar="OUTPUTS",
        help="folders to search for runs, or folders that --store wrote",
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=Path("outputs/report"),
        help="where to write the report (default: outputs/report)",
    )
    parser.add_argument(
        "--store", type=Path, help="also keep the runs here, in small files for version control"
    )
    parser.add_argument(
        "--fill",
        type=Path,
        nargs="+",
        default=[],
        metavar="PAGE",
        help="Markdown pages in which to update the tables between <!-- table: NAME --> and <!-- end -->",
    )
    settings = parser.parse_args(args)
    try:
        _report(settings.outputs, settings.to, settings.store, settings.fill)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}: name another place to write to", file=sys.stderr)
        return 2
    return 0


def _report(outputs: list[Path], to: Path, kept: Path | None, filled: list[Path]) -> None:
    runs, skipped = collect(outputs)
    cells, left_out = cells_of(runs)
    sections = sections_of(cells)
    skipped += left_out
    for line in skipped:
        print(f"left out: {line}", file=sys.stderr)
    pages = [(path, fill(path, sections)) for path in filled]
    if kept is not None:
        store([run for cell in cells for run in cell.runs], kept)
    found = verdict(cells)
    write(sections, found, skipped, [_read(cells), _INTERVALS], to)
    for path, text in pages:
        path.write_text(text, encoding="utf-8")
    print(f"{sum(len(cell.runs) for cell in cells)} runs: {to / 'index.html'}\n{found.sentence}")


def _read(cells: list[Cell]) -> str:
    """Say what the report rests on."""
    count, data = sum(len(cell.runs) for cell in cells), sorted({names.data(cell.setting) for cell in cells})
    return f"{count} finished {'run' if count == 1 else 'runs'} on {'; '.join(data)}."


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
