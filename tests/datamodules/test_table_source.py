from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules import InputError
from datamodules.interactions import Interactions
from datamodules.sources import TableSource

HEADER = "user_id,item_id,timestamp,title\n"
ROWS = [
    ("ann", "7", "10", '"Usual Suspects, The"'),
    ("bob", "8", "11.5", '"Two\nlines"'),
    ("ann", "8", "12", '"Two\nlines"'),
    ("ann", "9", "13", '"said ""no"""'),
]
TITLES = ["Usual Suspects, The", "Two lines", 'said "no"']


def write_csv(folder: Path, rows: list[tuple[str, ...]] = ROWS, header: str = HEADER) -> Path:
    path = folder / "log.csv"
    path.write_text(header + "".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, **settings) -> Interactions:
    return TableSource(str(path), **settings).read(path.parent)


def assert_is_the_log(log: Interactions) -> None:
    assert log.users == ["ann", "bob"]
    assert log.titles == TITLES
    assert log.user.tolist() == [0, 1, 0, 0]
    assert log.item.tolist() == [0, 1, 1, 2]
    assert log.time.tolist() == [10, 11.5, 12, 13]


def test_csv_with_titles_beside_the_interactions(tmp_path: Path) -> None:
    assert_is_the_log(read(write_csv(tmp_path)))


def test_csv_with_a_catalogue(tmp_path: Path) -> None:
    """The catalogue's order is the items' order, and an item nobody consumed is in it."""
    path = write_csv(tmp_path, [row[:3] for row in ROWS], "user_id,item_id,timestamp\n")
    catalogue = tmp_path / "items.csv"
    catalogue.write_text("title,item_id\nNobody's,1\n\"Usual Suspects, The\",7\nTwo lines,8\nnobody's,9\n")
    log = read(path, catalogue=str(catalogue))
    assert log.titles == ["Nobody's", "Usual Suspects, The", "Two lines"]
    assert log.item.tolist() == [1, 2, 2, 0]
    assert log.notes == ("merged 1 items into others of the same title",)


@pytest.mark.parametrize("time", [pa.float64(), pa.int64(), pa.timestamp("s"), pa.timestamp("ns", tz="UTC")])
@pytest.mark.parametrize(
    "item", [pa.int64(), pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_parquet_of_any_column_types_is_the_same_log(
    tmp_path: Path, time: pa.DataType, item: pa.DataType
) -> None:
    path = tmp_path / "log.anything"
    items = pa.array([7, 8, 8, 9])
    table = pa.table(
        {
            "who": ["ann", "bob", "ann", "ann"],
            "what": items if item == pa.int64() else pa.array([str(i) for i in items.to_pylist()]).cast(item),
            "when": pa.array([10, 11, 12, 13])
            .cast(time if not pa.types.is_timestamp(time) else pa.timestamp("s"))
            .cast(time),
            "name": ["Usual Suspects, The", "Two\nlines", "Two\nlines", 'said "no"'],
        }
    )
    pq.write_table(table, path, row_group_size=2)
    log = read(path, user_field="who", item_field="what", time_field="when", title_field="name")
    assert log.titles == TITLES
    assert log.item.tolist() == [0, 1, 1, 2]
    assert log.time.tolist() == [10, 11, 12, 13]


def test_many_blocks_are_one_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids keep the order of their first appearance across blocks of a few hundred bytes."""
    from datamodules.sources import delimited

    rows = [(f"u{n % 7}", f"i{n * n % 50}", str(n), f"title {n * n % 50}") for n in range(300)]
    whole = read(write_csv(tmp_path, rows))
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 256)
    parts = read(write_csv(tmp_path, rows))
    assert parts.users == whole.users == [f"u{n}" for n in range(7)]
    assert parts.titles == whole.titles == list(dict.fromkeys(row[3] for row in rows))
    assert parts.item.tolist() == whole.item.tolist()
    assert parts.time.tolist() == list(range(300))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"bob,8\n", "Expected 4 columns, got 2"),
        (b"bob,8,1,x,y\n", "Expected 4 columns, got 5"),
        (b"bob,8,soon,x\n", "time 'soon' is not a number or an ISO 8601 date .*"),
        (b"bob,8,nan,x\n", "time 'nan' is not a number or an ISO 8601 date .*"),
        (b",8,1,x\n", "user '' is empty or not UTF-8"),
        (b"bob,8,1,caf\xe9\n", "title None is empty or not UTF-8"),
        (b"bob,8,1, \n", "title ' ' is empty or not UTF-8"),
        (b"bob,8," + b"9" * 200_000 + b",x\n", "time '9{59} is not a number or an ISO 8601 date .*"),
    ],
)
def test_a_broken_row_is_named_or_skipped_and_counted(tmp_path: Path, row: bytes, message: str) -> None:
    """The rows before it take the lines 1 to 7: a header and four rows, two with a line break inside."""
    path = write_csv(tmp_path)
    path.write_bytes(path.read_bytes() + b"\n" + row + b"cid,9,14,x\n" + row)
    with pytest.raises(
        InputError, match=f"log.csv, line 9: {message}: mend the row or set skip_broken_rows"
    ) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    log = read(path, skip_broken_rows=True)
    assert log.dropped == {"broken rows of log.csv, skipped": 2}
    assert log.users == ["ann", "bob", "cid"]
    assert log.time.tolist() == [10, 11.5, 12, 13, 14]


def test_broken_rows_of_different_kinds_keep_their_lines(tmp_path: Path) -> None:
    """A row with too few fields moves the rows after it: the bad time stands on line 4, not 3."""
    path = write_csv(tmp_path, [("ann", "1", "1", "a"), ("ann",), ("ann", "1", "soon", "a")])
    with pytest.raises(InputError, match="line 3: Expected 4"):
        read(path)
    (chunk,) = _chunks_without_reports(path)
    assert chunk.place(1) == "line 4"


def _chunks_without_reports(path: Path) -> list:
    from datamodules.sources.broken import BrokenRows
    from datamodules.sources.delimited import DelimitedText

    return list(
        DelimitedText(path, ",", quoted=True).chunks({"time": "timestamp"}, BrokenRows(path, skip=True))
    )


def test_a_null_in_parquet_is_a_broken_row(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(
        pa.table({"user_id": ["a", None], "item_id": [1, 1], "timestamp": [1, None], "title": ["x", "x"]}),
        path,
    )
    with pytest.raises(InputError, match="log.parquet, row 2: user None is empty"):
        read(path)
    assert len(read(path, skip_broken_rows=True)) == 1


@pytest.mark.parametrize("keep", [3, 40, -9])
def test_a_truncated_parquet_file_is_one_line(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user_id": ["a"], "item_id": [1], "timestamp": [1], "title": ["x"]}), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="log.parquet: ") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_ends_inside_quotes_is_refused(tmp_path: Path) -> None:
    """Cut anywhere inside the last title, which Arrow would take as it is; its row begins on line 7."""
    path = write_csv(tmp_path)
    whole = path.read_bytes()
    for end in range(whole.index(b'"said') + 2, len(whole) - 2):
        if whole[:end].count(b'"') % 2 == 0:
            continue  # as if the title ended here: nobody can tell
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="log.csv, line 7: a quote opens here and the file ends inside"):
            read(path)


def test_a_quote_inside_a_value_is_a_quote(tmp_path: Path) -> None:
    assert 'a 5" disc' in read(write_csv(tmp_path, [*ROWS, ("ann", "10", "14", 'a 5" disc')])).titles


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,timestamp,title,title\na,1,1,x,y\n")
    with pytest.raises(InputError, match="log.csv: two fields are called 'title': rename one"):
        read(path)
    column = pa.array(["a"])
    pq.write_table(pa.table([column] * 5, names=["user_id", "item_id", "timestamp", "title", "title"]), path)
    with pytest.raises(InputError, match="log.csv: two fields are called 'title': rename one"):
        read(path)


@pytest.mark.parametrize("time", [pa.list_(pa.int64()), pa.time32("s"), pa.duration("s"), pa.string()])
def test_a_parquet_column_that_is_no_time_names_its_first_row(tmp_path: Path, time: pa.DataType) -> None:
    value = pa.array([["1"]]).cast(time) if pa.types.is_list(time) else pa.array([1], pa.int32())
    if pa.types.is_string(time):
        value = pa.array(["noon"])
    elif pa.types.is_duration(time):
        value = value.cast(pa.int64())
    path = tmp_path / "log.parquet"
    columns = {"user_id": ["a"], "item_id": [1], "timestamp": value.cast(time), "title": ["x"]}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(
        InputError, match="log.parquet, row 1: time .* is not a number or an ISO 8601 date .*: mend"
    ):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "log.csv is empty: restore the file"),
        (HEADER, "no rows under the header"),
        (
            "user_id,item_id,time,title\n",
            r"no field 'timestamp' among \['item_id', 'time', 'title', 'user_id'\]",
        ),
    ],
)
def test_empty_files_and_missing_columns_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read(path)
    with pytest.raises(InputError, match=r"none.csv is missing"):
        read(tmp_path / "none.csv")


def test_an_item_that_is_not_in_the_catalogue_is_named(tmp_path: Path) -> None:
    path, catalogue = write_csv(tmp_path), tmp_path / "items{}.csv"
    catalogue.write_text("item_id,title\n7,a\n8,b\n")
    with pytest.raises(InputError, match=r"log.csv, line 7: item '9' is not in items\{\}.csv"):
        read(path, catalogue=str(catalogue))
    assert len(read(path, catalogue=str(catalogue), skip_broken_rows=True)) == 3


def test_how_a_table_is_read_is_part_of_its_fingerprint(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    settings = [
        {},
        {"title_field": "item_id"},
        {"skip_broken_rows": True},
        {"rating_field": "timestamp"},
        {"catalogue": str(path)},
        {"quotes": False},
    ]
    prints = {TableSource(str(path), **each).fingerprint(tmp_path) for each in settings}
    assert len(prints) == len(settings)
