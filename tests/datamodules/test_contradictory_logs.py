"""Logs that say a thing twice, or two things of one item: dropped and counted, refused, or said."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules import InputError, RecommendationDataModule
from datamodules.audit.__main__ import main as audit
from datamodules.filters import Deduplicate
from datamodules.interactions import first_occurrences
from datamodules.sources import RecBoleSource, TableSource
from tests.conftest import write_atomic, write_tiny

HEADER = "user_id,item_id,timestamp,title\n"
DROPPED = "rows with the user, item and time of an earlier row, dropped"


def table(folder: Path, text: str, **settings) -> TableSource:
    (folder / "log.csv").write_text(HEADER + text, encoding="utf-8")
    return TableSource(str(folder / "log.csv"), **settings)


def with_catalogue(folder: Path, items: str, **settings) -> TableSource:
    (folder / "items.csv").write_text("item_id,title\n" + items, encoding="utf-8")
    return table(folder, "ann,7,1,\nbob,8,2,\n", catalogue=str(folder / "items.csv"), **settings)


rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([0.0, 1.0, 1.5])), max_size=30
)


@given(rows=rows)
def test_the_first_of_equal_rows_is_marked(rows: list[tuple[int, int, float]]) -> None:
    user, item = (np.array([row[column] for row in rows], dtype=np.int32) for column in (0, 1))
    time = np.array([row[2] for row in rows], dtype=np.float64)
    wanted = [row not in rows[:place] for place, row in enumerate(rows)]
    assert first_occurrences(user, item, time).tolist() == wanted


def test_rows_that_stand_there_twice_count_once(tmp_path: Path) -> None:
    """Ann's first row stands there three times, with another rating once; her later visit to 7 is another row."""
    source = table(
        tmp_path,
        "ann,7,1,a\nann,7,1.0,a\nbob,7,1,a\nann,8,2,b\nann,7,3,a\nann,7,1,a\n",
        rating_field="timestamp",
    )
    log = source.read(tmp_path)
    assert [(log.users[u], log.titles[i], t) for u, i, t in zip(log.user, log.item, log.time, strict=True)] == [
        ("ann", "a", 1), ("bob", "a", 1), ("ann", "b", 2), ("ann", "a", 3)
    ]  # fmt: skip
    assert log.rating is not None
    assert len(log.rating) == 4
    assert log.dropped == {DROPPED: 2}


def doubled(folder: Path) -> Path:
    """The small data set with every row of its log twice."""
    write_tiny(folder)
    path = folder / "tiny.inter"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *lines, *lines]) + "\n")
    return folder


def test_a_doubled_log_gives_the_examples_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="lightning.pytorch.utilities.rank_zero")
    folders = [write_tiny(tmp_path / "once" / "tiny"), doubled(tmp_path / "twice" / "tiny")]
    stores = []
    for folder in folders:
        data = RecommendationDataModule(
            RecBoleSource(str(folder)), num_candidates=8, cache_dir=str(tmp_path / "cache")
        )
        data.prepare_data()
        data.setup("test")
        stores.append(data.store)
    for split in ("train", "val", "test"):
        assert stores[0].splits[split].data.table.equals(stores[1].splits[split].data.table)
    assert stores[1].report == {**stores[0].report, DROPPED: 900}
    assert f"{DROPPED}: 900" in caplog.text
    audit([str(folders[1])])
    assert f"note: {DROPPED}: 900" in capsys.readouterr().out


def test_items_of_one_title_at_one_time_are_two_interactions(tmp_path: Path) -> None:
    """The source tells them apart, so both count, as they did."""
    log = table(tmp_path, "ann,7,1,a\nann,8,1,A\n").read(tmp_path)
    assert (log.item.tolist(), dict(log.dropped)) == ([0, 0], {})


def test_repeated_targets_are_counted_and_warned_of(tmp_path: Path) -> None:
    """40 users take items 0 to 9 in turn, then 9 again, then 0, which histories do not show: 9 targets each."""
    order = [*range(10), 9, 0]
    log = [(f"u{u}", f"i{i}", float(40 * place + u)) for u in range(40) for place, i in enumerate(order)]
    folder = write_atomic(tmp_path / "log", "log", log, {f"i{n}": f"title {n}" for n in range(40)})
    counts = {"targets that stand in their history": 40, "targets that are the item just before": 40}
    for filters, wanted in (
        ([], {**counts, "targets that stand in their history": 40}),
        ([Deduplicate()], {}),
    ):
        source = RecBoleSource(str(folder), filters=filters)
        data = RecommendationDataModule(source, cache_dir=str(tmp_path / "cache"))
        data.prepare_data()
        report = json.loads(next(data.cache_dir.glob(f"*{data.fingerprint}/report.json")).read_text())
        assert {name: report[name] for name in counts if name in report} == wanted
        if wanted:
            with pytest.warns(
                UserWarning, match="40 of 360 targets stand in their own history, where no re-drawn"
            ):
                data.setup("fit")


def test_an_item_with_two_titles_is_refused_in_a_catalogue(tmp_path: Path) -> None:
    """Case and white space make no other title; a row that repeats an item is none too many."""
    good = "7,The  Usual\n8,b\n7,the usual\n8,b\n"
    assert with_catalogue(tmp_path, good).read(tmp_path).titles == ["The Usual", "b"]
    bad = with_catalogue(tmp_path, good + "9,c\n8,other\n")
    with pytest.raises(
        InputError,
        match=r"items.csv, line 7: item '8' has the title 'other' here and 'b' before: mend the row",
    ):
        bad.read(tmp_path)
    skipping = with_catalogue(tmp_path, good + "9,c\n8,other\n", skip_broken_rows=True).read(tmp_path)
    assert skipping.titles == ["The Usual", "b", "c"]
    assert skipping.dropped == {"broken rows of items.csv, skipped": 1}


def test_an_item_with_two_titles_is_said_where_titles_stand_beside_interactions(tmp_path: Path) -> None:
    """Titles change over the years, and dropping rows would change histories: the first title holds."""
    log = table(tmp_path, "ann,7,1,a\nbob,8,2,b\nann,8,3,B\nbob,7,4,new a\nann,7,5,newer a\n").read(tmp_path)
    assert log.titles == ["a", "b"]
    assert log.item.tolist() == [0, 1, 1, 0, 0]
    assert log.notes == (
        "1 items have several titles, of which the first is taken: item '7' is 'a' and 'new a'",
    )


def test_titles_are_compared_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datamodules.sources import delimited

    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 256)
    text = "".join(f"{n % 50},title {n % 50}\n" for n in range(200))
    assert len(with_catalogue(tmp_path, text).read(tmp_path).titles) == 50
    with pytest.raises(
        InputError, match=r"items.csv, line 202: item '3' has the title 'other' here and 'title 3'"
    ):
        with_catalogue(tmp_path, text + "3,other\n").read(tmp_path)
