"""Tables in Markdown pages, and the results page against the runs it rests on."""

from pathlib import Path

import pytest

from datamodules import InputError
from study.report.cells import cells_of
from study.report.document import Section, Table
from study.report.markdown import fill, rendered
from study.report.sections import sections_of
from study.store import load

ROOT = Path(__file__).parents[3]
PAGES, RESULTS = ("docs/results.md", "README.md"), ROOT / "study/results"

TABLE = Table("one", "One", ("", "K"), (("a|b", "1"), ("c\nd", "*2*")), "A note.")
SECTIONS = [Section("s", "t", (), (TABLE,))]


def test_a_table_is_rendered() -> None:
    assert rendered(TABLE) == "|  | K |\n| --- | ---: |\n| a\\|b | 1 |\n| c d | \\*2\\* |\n\nA note.\n"


def test_filling_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("x\n<!-- table: one -->\n<!-- end -->\ny\n<!-- table: one -->\nold\n<!-- end -->\n")
    text = fill(path, SECTIONS)
    marked = f"<!-- table: one -->\n{rendered(TABLE)}<!-- end -->\n"
    assert text == f"x\n{marked}y\n{marked}"
    path.write_text(text)
    assert fill(path, SECTIONS) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("nothing", "has no mark"),
        ("<!-- table: two -->\n<!-- end -->", r"asks for table 'two'; there are one"),
        ("<!-- table: one -->\nkept\n<!-- table: one -->\n<!-- end -->", "line 3 is '<!-- table: one -->'"),
        ("<!-- table: one -->\n<!-- end -->\n<!-- end -->", "line 3 is '<!-- end -->'"),
        ("<!-- table: one -->\n<!-- end -->\n<!-- table: one --> ", "line 3 is"),
        ("<!-- table: one -->\nkept", "the table of line 1 has no <!-- end -->"),
    ],
)
def test_pages_that_cannot_be_filled(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "page.md"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        fill(path, SECTIONS)


def require_own_tables(page: Path, results: Path) -> None:
    """A page's tables are those of the results: `python -m study.report RESULTS --fill PAGE` would not change it."""
    sections = sections_of(cells_of(load(results))[0])
    assert fill(page, sections) == page.read_text(encoding="utf-8")


def test_a_page_under_version_control_says_what_its_results_say(tmp_path: Path) -> None:
    """The small study of the tests, and the same page with one digit changed."""
    page, results = Path(__file__).parents[1] / "results/page.md", Path(__file__).parents[1] / "results"
    require_own_tables(page, results)
    wrong = tmp_path / "page.md"
    wrong.write_text(page.read_text().replace("| .400 |", "| .401 |", 1))
    assert wrong.read_text() != page.read_text()
    with pytest.raises(AssertionError):
        require_own_tables(wrong, results)


@pytest.mark.parametrize("page", PAGES)
def test_the_published_tables_say_what_their_runs_say(page: str) -> None:
    require_own_tables(ROOT / page, RESULTS)
