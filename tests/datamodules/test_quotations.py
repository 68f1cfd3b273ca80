"""Quotes in tables: ordinary characters between tabs, around fields between commas, and never a row less in silence."""

import csv
import re
from pathlib import Path

import pytest

from datamodules import HistoryDataModule, InputError
from datamodules.audit.__main__ import main as audit
from datamodules.catalogue import read_items
from datamodules.interactions import Interactions
from datamodules.sources import TableSource
from datamodules.sources.table_chunks import TextFormat

OPEN, BALANCED = '"I was wrong, says mayor', '"We won": the final'


def write(path: Path, titles: dict[int, str], delimiter: str = "\t", rows: int = 60) -> Path:
    """Row n stands on line n + 2."""
    lines = [delimiter.join(["user_id", "item_id", "timestamp", "title"])]
    lines += [
        delimiter.join([f"u{n % 6}", f"i{n}", str(n), titles.get(n, f"title {n}")]) for n in range(rows)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path, **settings) -> Interactions:
    return TableSource(str(path), **settings).read(path.parent)


def test_between_tabs_a_quote_is_a_quote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many rows as csv reads with QUOTE_NONE, and every title as it stands; the audit reads the same."""
    path = write(tmp_path / "log.tsv", {7: OPEN, 20: BALANCED, 30: '"', 40: '""'})
    with path.open(newline="") as file:
        wanted = [row[3] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][1:]
    log = read(path, delimiter="\t")
    assert [log.titles[item] for item in log.item] == wanted
    assert len(wanted) == 60
    assert log.notes == ()
    assert audit([str(path)]) in (0, 1)
    # Of each of 6 users' 10 items all but the first 3 are targets.
    assert sum(map(int, re.findall(r"(\d+) (?:train|val|test)\b", capsys.readouterr().out))) == 42


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
def test_a_quote_that_swallows_rows_is_refused_with_its_line(tmp_path: Path, delimiter: str) -> None:
    """It opens in row 7, on line 9, and the next quote stands on line 22, before text or at the end of a title."""
    titles = {7: '"I was wrong', 20: '"We won": the final'}
    path = write(tmp_path / "log.txt", titles, delimiter)
    with pytest.raises(
        InputError, match="log.txt, line 9: a quote opens here, closes on line 22 and text follows"
    ):
        read(path, delimiter=delimiter, quotes=True)
    write(path, {7: '"I was wrong'}, delimiter)
    with pytest.raises(
        InputError, match="log.txt, line 9: a quote opens here and the file ends inside quotes"
    ):
        read(path, delimiter=delimiter, quotes=True, skip_broken_rows=True)
    assert len(read(path, delimiter=delimiter, quotes=False)) == 60
    if delimiter == "\t":
        assert len(read(path, delimiter=delimiter)) == 60
    else:
        with pytest.raises(InputError, match="set quotes: false"):
            read(path, delimiter=delimiter)


def test_rows_on_several_lines_are_said(tmp_path: Path) -> None:
    """Well-formed, so it is what the file says: 58 rows, two of them on two lines, an empty line beside."""
    path = write(tmp_path / "log.csv", {7: '"two\nlines"', 20: '"a ""b""\nc"'}, ",", rows=58)
    path.write_text(path.read_text() + "\n")
    log = read(path)
    assert len(log) == 58
    assert {"two lines", 'a "b" c'} <= set(log.titles)
    assert log.notes == (
        "log.csv has 58 rows on 60 lines: 2 of them hold line breaks in quotes, the first on line 9",
    )


def test_quotes_that_are_lost_are_said(tmp_path: Path) -> None:
    log = read(
        write(tmp_path / "log.csv", {7: BALANCED, 9: '"x" y', 20: 'a 5" disc', 30: '"Usual, The"'}, ",")
    )
    assert {"We won: the final", 'a 5" disc', "Usual, The"} <= set(log.titles)
    (note,) = log.notes
    assert note.startswith(
        "log.csv has text behind a closing quote in 2 rows, which lose the quotes, the first on line 9"
    )


def test_quoted_titles_under_a_plain_header_are_said(tmp_path: Path) -> None:
    """As csv.writer writes them; a quote alone and two of them are text. Only two fields of row 9 are in quotes."""
    path = tmp_path / "log.tsv"
    titles = ['The "N5" show', "Usual, The", '"']
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["user_id", "item_id", "timestamp", "title"])
        writer.writerows([f"u{n}", f"i{n}", n, titles[n % 3]] for n in range(6))
        file.write('"u 7"\t"i7"\t7\t""\n"\ti8\t8\t"\n')
    log = read(path, delimiter="\t")
    assert {'"The ""N5"" show"', "Usual, The", '""""', '""', '"'} <= set(log.titles)
    # Titles 0, 2, 3 and 5, and a user and an item; the note of merged titles is another one.
    (note,) = (note for note in log.notes if "quote" in note)
    assert note == (
        "log.tsv has 6 fields that begin and end with a quote, which is read as text: set quotes: true "
        "where quotes enclose fields, quotes: false where they do not"
    )
    assert not any("quote" in note for note in read(path, delimiter="\t", quotes=False).notes)


def test_a_quoted_row_of_another_width_names_the_setting(tmp_path: Path) -> None:
    """Row 7, on line 9, holds a tab inside quotes; a row without quotes is another matter, as is a RecBole file."""
    path = write(tmp_path / "log.tsv", {7: '"a\tb"'})
    with pytest.raises(
        InputError,
        match="line 9: Expected 4 .* got 5, and its quotes enclose fields only with quotes: true: mend",
    ):
        read(path, delimiter="\t")
    assert read(path, delimiter="\t", quotes=True).titles[7].split() == ["a", "b"]
    write(path, {7: "a\tb"})
    with pytest.raises(InputError, match="line 9: Expected 4 columns, got 5: mend the row"):
        read(path, delimiter="\t")


def test_a_header_in_quotes_between_tabs_names_the_setting(tmp_path: Path) -> None:
    """As R writes tables."""
    path = tmp_path / "log.tsv"
    path.write_text('"user_id"\t"item_id"\t"timestamp"\t"title"\n"a"\t"1"\t1\t"x"\n')
    with pytest.raises(InputError, match='log.tsv: the header has "user_id" in quotes: set quotes: true'):
        read(path, delimiter="\t")
    assert read(path, delimiter="\t", quotes=True).titles == ["x"]


def test_a_catalogue_for_recommending_is_read_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "items.tsv", {7: OPEN, 20: BALANCED})
    titles = read_items(path, "item_id", "title", TextFormat("\t")).titles
    assert (len(titles), titles[7], titles[20]) == (60, OPEN, BALANCED)
    with pytest.raises(InputError, match="items.tsv, line 9: a quote opens here"):
        read_items(path, "item_id", "title", TextFormat("\t", quotes=True))


@pytest.mark.parametrize("delimiter", ["::", "", "é", '"', "\n"])
def test_what_cannot_separate_fields_is_refused(delimiter: str) -> None:
    for make in (
        lambda: TableSource("x", delimiter=delimiter),
        lambda: HistoryDataModule("h", "c", "t", delimiter=delimiter),
    ):
        with pytest.raises(ValueError, match="must be one ASCII character"):
            make()


def test_a_tab_as_a_command_line_writes_it(tmp_path: Path) -> None:
    """The two characters are a tab, with what follows from it for quotes and for the name of stored examples."""
    path = write(tmp_path / "log.tsv", {3: '"Quoted" title'})
    typed, tab = (TableSource(str(path), delimiter=delimiter) for delimiter in (r"\t", "\t"))
    assert typed.read(tmp_path).titles == tab.read(tmp_path).titles
    assert '"Quoted" title' in typed.read(tmp_path).titles
    assert typed.fingerprint(tmp_path) == tab.fingerprint(tmp_path)
