"""What is wrong with atomic files is named with file and line, or skipped and counted."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules import InputError
from datamodules.corpus import ExampleRules
from datamodules.sources import RecBoleSource
from tests.conftest import write_atomic

ROWS = [(f"u{n % 3}", f"i{n % 5}", float(n)) for n in range(60)]
TITLES = {f"i{n}": f"title {n}" for n in range(5)}
RULES = ExampleRules(min_history=1, max_history=3, seed=0)


def source(folder: Path, **settings) -> RecBoleSource:
    return RecBoleSource(str(write_atomic(folder / "tiny", "tiny", ROWS, TITLES)), **settings)


@pytest.mark.parametrize(
    ("ending", "row", "message"),
    [
        ("inter", b"u1\ti1\n", "tiny.inter, line 62: Expected 3 columns, got 2"),
        (
            "inter",
            b"u1\ti1\tnoon\n",
            "tiny.inter, line 62: time 'noon' is not a number or an ISO 8601 date .*",
        ),
        (
            "inter",
            b"u1\ti1\t1e400\n",
            "tiny.inter, line 62: time '1e400' is not a number or an ISO 8601 date .*",
        ),
        ("inter", b"u1\tnone\t3\n", "tiny.inter, line 62: item 'none' is not in tiny.item"),
        ("inter", b"caf\xe9\ti1\t3\n", "tiny.inter, line 62: user None is empty or not UTF-8"),
        ("item", b"i9\tcaf\xe9\n", "tiny.item, line 7: title None is empty or not UTF-8"),
        ("item", b"i9\n", "tiny.item, line 7: Expected 2 columns, got 1"),
    ],
)
def test_a_broken_row_is_named_or_skipped_and_counted(
    tmp_path: Path, ending: str, row: bytes, message: str
) -> None:
    reader = source(tmp_path)
    with (reader.path / f"tiny.{ending}").open("ab") as file:
        file.write(row)
    with pytest.raises(InputError, match=f"{message}: mend the row or set skip_broken_rows: true"):
        reader.load(tmp_path, RULES)
    skipping = RecBoleSource(str(reader.path), skip_broken_rows=True)
    corpus = skipping.load(tmp_path, RULES)
    assert corpus.report[f"broken rows of tiny.{ending}, skipped"] == 1
    assert corpus.report["interactions"] == len(ROWS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "is empty: restore the file"),
        (lambda content: content.splitlines(keepends=True)[0], "no rows under the header: restore the file"),
        (lambda content: content.replace(b"timestamp", b"when"), "no field 'timestamp' among"),
        (lambda content: content.replace(b"item_id", b"user_id", 1), "no field 'item_id' among"),
        (lambda content: content.replace(b"\n", b"\tuser_id\n", 1), "two fields are called 'user_id'"),
        (lambda content: content.decode().encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (lambda content: gzip.compress(content)[:-9], "cannot be decompressed"),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_a_broken_file_is_one_line(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str, skip: bool
) -> None:
    reader = source(tmp_path, skip_broken_rows=skip)
    inter = reader.path / "tiny.inter"
    inter.write_bytes(change(inter.read_bytes()))
    with pytest.raises(InputError, match=f"tiny.inter:? ?{message}") as caught:
        reader.load(tmp_path, RULES)
    assert "\n" not in str(caught.value)


def test_an_empty_split_names_the_file(tmp_path: Path) -> None:
    """All at one time: every example is later than both cuts."""
    folder = write_atomic(tmp_path / "tiny", "tiny", [(u, i, 7.0) for u, i, _ in ROWS], TITLES)
    with pytest.raises(
        InputError, match=r"tiny.inter: all times are equal \(7\), and splits are cut at times"
    ):
        RecBoleSource(str(folder)).load(tmp_path, RULES)


@pytest.mark.parametrize("change", [lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b])
def test_line_ends_and_a_byte_order_mark_of_windows_are_read(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    reader = source(tmp_path)
    for path in reader.path.iterdir():
        path.write_bytes(change(path.read_bytes()))
    log = reader.read(tmp_path)
    assert log.titles == list(TITLES.values())
    assert log.users == ["u0", "u1", "u2"]
    assert log.time.tolist() == [time for _, _, time in ROWS]
