"""Times as numbers and as dates, against Python's own datetime."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules import InputError
from datamodules.sources import TableSource
from datamodules.sources.times import TimeColumn

# 1970-01-01 is 0; 2020-09-13 12:26:40 is 1600000000 by definition of the clock.
KNOWN = {
    "2020-09-13 12:26:40": 1_600_000_000.0,
    "2020-09-13T12:26:40.5": 1_600_000_000.5,
    " 2020-09-13 12:26:40.123456789 ": 1_600_000_000.123456,
    "2020-09-13 12:26": 1_599_999_960.0,
    "1970-01-02": 86_400.0,
    "2020-09-13T14:26:40+02:00": 1_600_000_000.0,
    "2020-09-13T12:26:40Z": 1_600_000_000.0,
    "2020-09-13 07:26:40-0500": 1_600_000_000.0,
    " 12.5": 12.5,
    "1e3": 1000.0,
}


@pytest.mark.parametrize("text", KNOWN)
def test_known_times(text: str) -> None:
    (found,) = TimeColumn().seconds(pa.array([text]))
    assert found == pytest.approx(KNOWN[text], abs=1e-6)


@given(
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), min_size=1),
    st.integers(-12 * 60, 14 * 60),
)
def test_dates_are_what_datetime_says(moments: list[datetime], minutes: int) -> None:
    """Without a zone a date is taken as UTC; with one it is converted."""
    zoned = [moment.replace(tzinfo=timezone(timedelta(minutes=minutes))) for moment in moments]
    plain = TimeColumn().seconds(pa.array([moment.isoformat(" ") for moment in moments]))
    assert plain.tolist() == pytest.approx([m.replace(tzinfo=UTC).timestamp() for m in moments], abs=1e-5)
    with_zone = TimeColumn().seconds(pa.array([moment.isoformat() for moment in zoned]))
    assert with_zone.tolist() == pytest.approx([moment.timestamp() for moment in zoned], abs=1e-5)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (
            ["2020-09-13 12:00:00", "2020-09-14"],
            "is a date, and the first time of the file is a date and time",
        ),
        (["1", "2020-09-14"], "is a date, and the first time of the file is a number"),
        (["2020-09-14", "1600000000"], "is a number, and the first time of the file is a date"),
        (["2020-09-14T10:00:00Z", "2020-09-14T10:00:00"], "is a date and time, and the .* with a zone"),
        (["2020-01-31", "2020-02-30"], "is not a number or an ISO 8601 date"),
        (["2020-01-31", ""], "is not a number or an ISO 8601 date"),
        (["2020-01-31", "31/01/2020"], "is not a number or an ISO 8601 date"),
    ],
)
@pytest.mark.parametrize("block", [1 << 22, 64])
def test_a_file_has_times_of_one_kind(
    tmp_path: Path, times: list[str], message: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one block and in several: the row of the other kind is on line 3."""
    from datamodules.sources import delimited

    monkeypatch.setattr(delimited, "_BLOCK_BYTES", block)
    path = tmp_path / "log.csv"
    rows = "".join(f"u{n},i{n},{time},a title of some length {n}\n" for n, time in enumerate(times))
    path.write_text("user_id,item_id,timestamp,title\n" + rows)
    with pytest.raises(InputError, match=f"log.csv, line 3: time '{times[1]}' {message}.*: mend the row"):
        TableSource(str(path)).read(tmp_path)
    assert len(TableSource(str(path), skip_broken_rows=True).read(tmp_path)) == 1


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_dates_as_text_in_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "log.parquet"
    times = pa.array(["2020-09-13 12:26:40", "2020-09-13 12:26:41"]).cast(kind)
    table = {"user_id": ["a", "a"], "item_id": [1, 2], "timestamp": times, "title": ["x", "y"]}
    pq.write_table(pa.table(table), path)
    assert TableSource(str(path)).read(tmp_path).time.tolist() == [1_600_000_000, 1_600_000_001]


def test_a_file_without_a_row_that_can_be_used_says_why(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,timestamp,title\na,1,13/09/2020,x\nb,1,14/09/2020,x\n")
    with pytest.raises(
        InputError,
        match="none of its 2 rows can be used, the first of them, line 2: time '13/09/2020' is not",
    ):
        TableSource(str(path), skip_broken_rows=True).read(tmp_path)
