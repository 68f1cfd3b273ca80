"""Histories in one string, of titles that hold the separator's character: split as they were joined, or refused."""

import json
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import InputError
from datamodules.audit_input import read_sdpo
from datamodules.corpus import Corpus, ExampleRules
from datamodules.sources import SDPOSource
from datamodules.sources.history_split import SplitByTitles, TitlesNeeded, split_plainly

KNOWN = ["A", "B", "Zero", ":w:", "x:", "Re::Zero", "Ünder  Way", "C:D"]


@pytest.mark.parametrize(
    ("history", "titles"),
    [
        ("", []),
        ("A::B", ["A", "B"]),
        (":w:", [":w:"]),
        ("A:::w:::B", ["A", ":w:", "B"]),
        (":w:::::w:", None),  # ":w", "" and ":w:", or ":w:", "" and "w:"
        (":w::::w:", [":w:", ":w:"]),
        (":w:::x::::w:", [":w:", "x:", ":w:"]),
        ("x:::A", ["x:", "A"]),
        ("A::Re::Zero::B", ["A", "Re::Zero", "B"]),
        ("re::ZERO::ünder way", ["re::ZERO", "ünder way"]),
        ("Re::A", ["Re", "A"]),
        ("C:D::A", ["C:D", "A"]),
        ("New One::Other::A", ["New One", "Other", "A"]),
        ("A:::new::B", ["A", ":new", "B"]),
        ("A:::new:::B", ["A", ":new:", "B"]),
        ("A::::B", ["A", "", "B"]),
        ("A::B::", ["A", "B", ""]),
    ],
)
def test_titles_that_are_known_decide(history: str, titles: list[str] | None) -> None:
    if titles is None:
        with pytest.raises(ValueError, match="can be read as"):
            SplitByTitles(KNOWN)(history)
        return
    assert SplitByTitles(KNOWN)(history) == titles


@pytest.mark.parametrize(
    ("history", "known", "readings"),
    [
        ("A::Re::Zero::B", [*KNOWN, "Re"], r"\['Re', 'Zero'\] or as \['Re::Zero'\]|\['Re::Zero'\] or as"),
        ("A::x:::w", ["A", "x", "x:", "w", ":w"], r"\['x', ':w'\] or as|\['x:', 'w'\] or as \['x', ':w'\]"),
        ("new:::other", KNOWN, "can be read as"),
    ],
)
def test_what_stays_open_names_both_readings(history: str, known: list[str], readings: str) -> None:
    with pytest.raises(ValueError, match=readings):
        SplitByTitles(known)(history)


def test_plain_histories_need_no_titles() -> None:
    assert split_plainly("A::C:D::x:") == ["A", "C:D", "x:"]
    assert split_plainly("") == []
    for doubtful in ("A:::B", "A::::B", "A::", "::A"):
        with pytest.raises(TitlesNeeded):
            split_plainly(doubtful)


titles = st.text("aB:", min_size=1, max_size=5)


def cheapest(history: str, known: set[str]) -> list[list[str]]:
    """Tries every choice of separators."""
    places = [place for place in range(len(history)) if history[place : place + 2] == "::"]
    costs: dict[int, list[list[str]]] = {}
    for count in range(len(places) + 1):
        for chosen in combinations(places, count):
            if any(right - left < 2 for left, right in pairwise(chosen)):
                continue
            begins, ends = [0, *(place + 2 for place in chosen)], [*chosen, len(history)]
            way = [history[begin:end] for begin, end in zip(begins, ends, strict=True)]
            unknown = [title for title in way if title.casefold() not in known]
            if not any("::" in title for title in unknown):
                cost = sum(1 + title.startswith(":") + title.endswith(":") for title in unknown)
                costs.setdefault(cost, []).append(way)
    return costs[min(costs)]


@settings(deadline=None, max_examples=300)
@given(known=st.lists(titles, min_size=1, max_size=5), data=st.data())
def test_the_cheapest_split_is_found_and_what_was_joined_comes_back(
    known: list[str], data: st.DataObject
) -> None:
    history = data.draw(st.lists(st.sampled_from(known) | titles, min_size=1, max_size=4))
    text = "::".join(history)
    ways = cheapest(text, {title.casefold() for title in known})
    try:
        found = SplitByTitles(known)(text)
    except ValueError:
        assert len(ways) > 1
        return
    assert ways == [found]
    if set(history) <= set(known):
        assert found == history


def write(path: Path, histories: list[str], items: list[str]) -> str:
    rows = [
        {"historyList": history, "itemList": items, "trueSelection": items[n % len(items)]}
        for n, history in enumerate(histories)
    ]
    path.write_text(json.dumps(rows, indent=4))
    return str(path)


def load(folder: Path, histories: list[str], **options) -> Corpus:
    """The titles that decide stand in the lists of the test file, which is read last."""
    train = write(folder / "train.json", ["A::B", *histories], ["A", "B"])
    test = write(folder / "test.json", ["A::B"], [":w:", "Re::Zero"])
    source = SDPOSource(train, test, val=test, **options)
    return source.load(folder, ExampleRules(min_history=1, max_history=4, seed=0))


def test_every_title_of_a_history_is_an_item(tmp_path: Path) -> None:
    corpus = load(tmp_path, [":w:::A:::w:", "B::Re::Zero", "B::nowhere"])
    assert corpus.titles == ["A", "B", ":w:", "Re::Zero", "nowhere"]
    assert corpus.examples.history[1:4].tolist() == [[-1, 2, 0, 2], [-1, -1, 1, 3], [-1, -1, 1, 4]]
    files = {name: tmp_path / f"{name}.json" for name in ("train", "test")}
    assert sorted(read_sdpo(files, skip=False).titles) == sorted(corpus.titles)


def test_a_compound_title_alone_is_put_together(tmp_path: Path) -> None:
    """No colons stand together in any history, so that only the lists tell."""
    assert load(tmp_path, ["B::Re::Zero"]).titles == ["A", "B", "Re::Zero", ":w:"]


def test_an_open_history_is_a_broken_row(tmp_path: Path) -> None:
    """Rows take 8 lines: the third begins on line 18."""
    histories = ["A:::w:::B", "one:::two::A"]
    with pytest.raises(InputError, match=r"train.json, line 18: historyList can be read as \['one"):
        load(tmp_path, histories)
    corpus = load(tmp_path, histories, skip_broken_rows=True)
    assert corpus.report["broken rows of train.json, skipped"] == 1
    assert corpus.titles == ["A", "B", ":w:", "Re::Zero"]
