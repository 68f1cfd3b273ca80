"""Tables as Markdown, and pages that hold some of them between marks.

A mark is an HTML comment, unseen when the page is rendered:

    <!-- table: comparison-movielens100k-re-drawn -->
    (the table)
    <!-- end -->
"""

import re
from pathlib import Path

from datamodules.errors import InputError
from study.report.document import Section, Table, filled

_MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_MARK = re.compile(r"^\s*<!--\s*(table:|end\b)")
_OPEN, _CLOSE = r"<!-- table: \S+ -->", "<!-- end -->"


def markdown(sections: list[Section]) -> str:
    """Return all tables, each under its name."""
    tables = [table for section in sections for table in section.tables]
    return "\n".join(f"## {table.name}\n\n{rendered(table)}" for table in tables)


def rendered(table: Table) -> str:
    """Render a table with its note, without columns that are empty."""
    table = filled(table)
    lines = [
        table.head,
        tuple("---" if place == 0 else "---:" for place in range(len(table.head))),
        *table.rows,
    ]
    text = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
    return f"{text}\n" + (f"\n{table.note}\n" if table.note else "")


def fill(path: Path, sections: list[Section]) -> str:
    """Fill the marks of a page with the tables that they name.

    Args:
        path: The page.
        sections: That hold the tables.

    Returns:
        The page's new text; the same text if its tables are those of the sections.

    Raises:
        InputError: The page is missing, has no mark or a broken one, or asks for a table that there is not.
    """
    tables = {table.name: table for section in sections for table in section.tables}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): give a Markdown page") from error
    _require_pairs(path, text)
    wanted = [name for _, name, _ in _MARKED.findall(text)]
    if not wanted:
        raise InputError(
            f"{path} has no mark: put <!-- table: NAME --> and <!-- end --> where a table belongs"
        )
    if absent := [name for name in wanted if name not in tables]:
        raise InputError(f"{path} asks for table {absent[0]!r}; there are {', '.join(sorted(tables))}")
    return _MARKED.sub(lambda mark: f"{mark[1]}{rendered(tables[mark[2]])}{mark[3]}", text)


def _require_pairs(path: Path, text: str) -> None:
    """Require marks to open and close in turn; otherwise text between two tables would be replaced."""
    marks = [(number, line) for number, line in enumerate(text.split("\n"), 1) if _MARK.match(line)]
    for place, (number, line) in enumerate(marks):
        wanted, pattern = (_CLOSE, _CLOSE) if place % 2 else ("<!-- table: NAME -->", _OPEN)
        if not re.fullmatch(pattern, line):
            raise InputError(
                f"{path}: line {number} is {line!r} where {wanted} belongs: close every table before the next"
            )
    if len(marks) % 2:
        raise InputError(f"{path}: the table of line {marks[-1][0]} has no {_CLOSE}: put one behind it")


def _cell(text: str) -> str:
    return re.sub(r"([|<>`*_\\])", r"\\\1", " ".join(text.split()))
