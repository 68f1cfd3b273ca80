"""Compressed files are read as if they were not; folders, foreign and damaged files are named in one line."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules import InputError
from datamodules.corpus import ExampleRules
from datamodules.sources import PreferenceFiles, RecBoleSource, SDPOSource, TableSource
from datamodules.sources.opened import content_suffix, open_bytes
from tests.conftest import write_atomic

COLUMNS = {
    "user_id": ["ann", "bob", "ann"],
    "item_id": ["1", "2", "2"],
    "timestamp": ["10", "11", "12"],
    "title": ['"A, B"', "C", "C"],
}
CSV = "\n".join([",".join(COLUMNS), *map(",".join, zip(*COLUMNS.values(), strict=True))]).encode() + b"\n"
ROWS = [{"prompt": f"p{n}", "chosen": "a", "rejected": ["b", "c"]} for n in range(30)]
LISTED = [{"historyList": ["A", "B"], "itemList": ["C", "D"], "trueSelection": "C"}] * 9


def zipped(content: bytes, *others: str, name: str = "inner.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr(f"folder/{name}", content)
        archive.writestr("__MACOSX/._inner.csv", b"x")
        for other in others:
            archive.writestr(other, b"x")
    return file.getvalue()


PACK: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, zipped]


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({**COLUMNS, "title": ["A, B", "C", "C"]}), file)
    return file.getvalue()


def as_lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("table", [CSV, parquet(), b'[{"no": 1}]'])
def test_a_table_is_read_whatever_its_name(tmp_path: Path, table: bytes, pack: Callable) -> None:
    if table.startswith(b"["):
        objects = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
        table = json.dumps([{**row, "title": row["title"].strip('"')} for row in objects]).encode()
    path = tmp_path / "log.csv"
    path.write_bytes(pack(table))
    log = TableSource(str(path)).read(tmp_path)
    assert (log.users, log.titles) == (["ann", "bob"], ["A, B", "C"])
    assert log.time.tolist() == [10, 11, 12]


@pytest.mark.parametrize("pack", PACK)
def test_json_of_all_kinds_is_read_compressed_too(tmp_path: Path, pack: Callable) -> None:
    """As lines and as an array; a file's fingerprint is that of its bytes."""
    for number, content in enumerate((as_lines(ROWS), json.dumps(ROWS).encode())):
        path = tmp_path / f"{number}.json"
        path.write_bytes(pack(content))
        read = list(PreferenceFiles(str(path)).read({}))
        assert [(row.prompt, row.responses) for row in read] == [
            (row["prompt"], ("a", "b", "c")) for row in ROWS
        ]
        (tmp_path / "listed.json").write_bytes(
            pack(as_lines(LISTED) if number else json.dumps(LISTED).encode())
        )
        listed = SDPOSource(*[str(tmp_path / "listed.json")] * 2).load(tmp_path, ExampleRules(1, 5, 0))
        assert listed.titles == ["A", "B", "C", "D"]
    plain = tmp_path / "plain.json"
    plain.write_bytes(content)
    same = PreferenceFiles(str(plain)).settings() == PreferenceFiles(str(path)).settings()
    assert same == (pack is bytes)


@pytest.mark.parametrize("pack", PACK[1:])
def test_atomic_files_and_the_line_of_a_broken_row(tmp_path: Path, pack: Callable) -> None:
    folder = write_atomic(
        tmp_path / "tiny",
        "tiny",
        [("u", f"i{n % 5}", float(n)) for n in range(60)],
        {f"i{n}": f"T{n}" for n in range(5)},
    )
    for path in folder.iterdir():
        path.write_bytes(pack(path.read_bytes() + (b"u\ti1\tsoon\n" if path.suffix == ".inter" else b"")))
    with pytest.raises(InputError, match="tiny.inter, line 62: time 'soon' is not a number"):
        RecBoleSource(str(folder)).read(tmp_path)
    log = RecBoleSource(str(folder), skip_broken_rows=True).read(tmp_path)
    np.testing.assert_array_equal(log.time, np.arange(60))


def test_the_ending_inside(tmp_path: Path) -> None:
    (tmp_path / "a.ZIP").write_bytes(zipped(CSV, name="b.TSV"))
    assert content_suffix(tmp_path / "a.ZIP") == ".tsv"
    assert content_suffix(Path("a.jsonl.gz")) == ".jsonl"
    assert content_suffix(Path("a.CSV")) == ".csv"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(CSV, "[Content_Types].xml"), "is an Excel workbook"),
        (zipped(CSV, "other.csv"), r"holds 2 files \(folder/inner.csv, other.csv\): unpack it and give one"),
        (zipped(CSV)[:-30], "cannot be decompressed .*: restore the file"),
        (gzip.compress(CSV)[:-12], "cannot be decompressed .*: restore the file"),
        (b"\x1f\x8b" + CSV, "cannot be decompressed .*: restore the file"),
        (b"BZh91AY", "is compressed with bzip2"),
        (b"\xfd7zXZ\x00\x00", "is compressed with xz"),
        ("é,b\n".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (b"\n<!DOCTYPE html>", "is a web page"),
        (gzip.compress(b"a" * 257 + b"ustar" + b"b" * 300), "is a tar archive: unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (None, r"is a folder: give the path of a file in it, x.txt for instance"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "log.csv"
    if content is None:
        path.mkdir()
        (path / "x.txt").write_text("x")
    else:
        path.write_bytes(content)
    for source in (TableSource(str(path)), PreferenceFiles(str(path)), SDPOSource(str(path), str(path))):
        with pytest.raises(InputError, match=f"log.csv {message}") as caught:
            if isinstance(source, PreferenceFiles):
                source.settings()
                list(source.read({}))
            else:
                source.settings(tmp_path)
                source.load(tmp_path, ExampleRules(1, 5, 0))
        assert "\n" not in str(caught.value)


def test_damage_behind_the_first_block_is_named_by_arrow_too(tmp_path: Path) -> None:
    """Arrow reads the stream itself there; the error is ours all the same."""
    path = tmp_path / "log.csv"
    rows = np.random.default_rng(0).integers(1 << 40, size=(400_000, 2))
    text = "user_id,item_id,timestamp,title\n" + "".join(f"{a},{b},1,x\n" for a, b in rows)
    packed = gzip.compress(text.encode(), 1)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="log.csv cannot be decompressed"):
        TableSource(str(path), quotes=False).read(tmp_path)
    with open_bytes(path) as file:
        assert file.read(7) == b"user_id"
