"""Tables as people have them: JSON rows, no header, other separators, item columns of two names."""

import json
from pathlib import Path

import pytest

from datamodules import InputError
from datamodules.audit.__main__ import main as audit
from datamodules.catalogue import read_items
from datamodules.sources import RecBoleSource, TableSource
from datamodules.sources.table_chunks import TextFormat


def test_json_lines_are_a_table(tmp_path: Path) -> None:
    """Amazon's reviews: ids are text or numbers, further keys are ignored, a key may be absent from some rows."""
    path = tmp_path / "reviews.jsonl"
    rows = [
        {"asin": "B1", "user": 7, "sort_timestamp": 1588687728923, "title": "A", "images": [{"url": "x"}]},
        {"asin": "B2", "user": 8, "sort_timestamp": 1588687728924.5, "title": "B"},
    ]
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    names = {"user_field": "user", "item_field": "asin", "time_field": "sort_timestamp"}
    log = TableSource(str(path), **names).read(tmp_path)
    assert (log.users, log.titles, log.time.tolist()) == (
        ["7", "8"],
        ["A", "B"],
        [1588687728923, 1588687728924.5],
    )
    for broken, message in (
        ({"asin": "B1", "user": 7, "sort_timestamp": 1}, "title None is empty"),
        ({**rows[0], "title": ["A"]}, r"title \"\['A'\]\" is neither text nor a number"),
        ({**rows[0], "user": True}, "user 'True' is neither text nor a number"),
        ([1], r"'\[1\]' is not an object"),
    ):
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, broken]))
        with pytest.raises(InputError, match=f"reviews.jsonl, line 3: {message}"):
            TableSource(str(path), **names).read(tmp_path)
        assert len(TableSource(str(path), **names, skip_broken_rows=True).read(tmp_path)) == 2
    with pytest.raises(InputError, match="no field 'parent_asin' among"):
        TableSource(str(path), **(names | {"item_field": "parent_asin"})).read(tmp_path)


def test_a_file_without_a_header_has_its_columns_named(tmp_path: Path) -> None:
    """As MovieLens' u.data and u.item; the first line is a row, and lines count from it."""
    path, items = tmp_path / "u.data", tmp_path / "u.item"
    path.write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    items.write_text("302|L.A. Confidential|1997\n242|Kolya|1996\n")
    names = {"user_field": "user", "item_field": "item", "time_field": "time", "delimiter": "\t"}
    with pytest.raises(
        InputError, match=r"u.data: the first line, '196, 242, 3, 881250949', names no columns: name"
    ):
        TableSource(str(path), **names).read(tmp_path)
    columns = ["user", "item", "rating", "time"]
    titled = tmp_path / "titled"
    titled.write_text("242\tKolya\n302\tL.A. Confidential\n")
    source = TableSource(
        str(path),
        str(titled),
        **names,
        columns=columns,
        catalogue_columns=["item", "title"],
        rating_field="rating",
    )
    log = source.read(tmp_path)
    assert (log.users, log.titles, log.item.tolist()) == (
        ["196", "186"],
        ["Kolya", "L.A. Confidential"],
        [0, 1],
    )
    assert log.rating is not None
    assert log.rating.tolist() == [3, 3]
    with pytest.raises(
        InputError, match="u.data: columns names 3 and line 1 has 4 fields, '196.*': name every one"
    ):
        TableSource(
            str(path), str(titled), **names, columns=columns[:3], catalogue_columns=["item", "title"]
        ).read(tmp_path)
    path.write_text(path.read_text() + "1\t2\n1\t242\t5\tsoon\n")
    for skip, message in ((False, "line 3: Expected 4 columns, got 2"), (True, "")):
        again = TableSource(
            str(path),
            str(titled),
            **names,
            columns=columns,
            catalogue_columns=["item", "title"],
            skip_broken_rows=skip,
        )
        if message:
            with pytest.raises(InputError, match=f"u.data, {message}"):
                again.read(tmp_path)
        else:
            assert again.read(tmp_path).dropped == {"broken rows of u.data, skipped": 2}
    path.write_text("1\t242\t5\t1\n1\t242\t5\tsoon\n")
    with pytest.raises(InputError, match="u.data, line 2: time 'soon'"):
        source.read(tmp_path)


def test_the_item_has_another_name_in_the_catalogue(tmp_path: Path) -> None:
    path, catalogue = tmp_path / "log.csv", tmp_path / "items.csv"
    path.write_text("user_id,item_id,timestamp\na,1,1\n")
    catalogue.write_text("movieId,title\n1,Heat\n")
    log = TableSource(str(path), str(catalogue), catalogue_item_field="movieId").read(tmp_path)
    assert log.titles == ["Heat"]
    with pytest.raises(InputError, match="items.csv: no field 'item_id' among"):
        TableSource(str(path), str(catalogue)).read(tmp_path)
    for setting in ({"catalogue_item_field": "movieId"}, {"catalogue_columns": ["movieId", "title"]}):
        with pytest.raises(ValueError, match=f"{next(iter(setting))} is given and catalogue is not"):
            TableSource(str(path), **setting)


def test_each_way_to_read_is_other_data(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,timestamp,title\n")
    settings = [
        {},
        {"columns": ["user_id", "item_id", "timestamp", "title"]},
        {"catalogue": str(path)},
        {"catalogue": str(path), "catalogue_item_field": "title"},
        {"catalogue": str(path), "catalogue_columns": ["item_id", "title"]},
    ]
    assert len({TableSource(str(path), **each).fingerprint(tmp_path) for each in settings}) == len(settings)


@pytest.mark.parametrize(
    ("separator", "name"),
    [(";", "semicolons"), ("\t", "tabs"), ("::", "'::'"), ("|", r"'\|'"), (" ", "spaces")],
)
def test_another_separator_is_named(tmp_path: Path, separator: str, name: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(separator.join(["user_id", "item_id", "timestamp", "title"]) + "\n")
    with pytest.raises(
        InputError, match=f"log.csv: its fields are not separated by commas: the header, .*, holds {name}"
    ):
        TableSource(str(path)).read(tmp_path)
    folder = tmp_path / "shop"
    folder.mkdir()
    header = separator.join(["user_id:token", "item_id:token", "timestamp:float"])
    for ending in ("inter", "item"):
        (folder / f"shop.{ending}").write_text(header + "\n")
    if separator != "\t":
        with pytest.raises(
            InputError, match=f"shop.item: its fields are not separated by tabs: .* holds {name}: rewrite"
        ):
            RecBoleSource(str(folder)).read(tmp_path)


def test_a_folder_of_atomic_files_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.inter").write_text("x")
    for path, message in (
        (tmp_path, "is missing and shop.inter is there: set name to shop"),
        (tmp_path / "shop.inter", "is a file: give the folder"),
        (tmp_path / "none", "none is missing: give the folder"),
    ):
        with pytest.raises(InputError, match=message):
            RecBoleSource(str(path)).settings(tmp_path)
    (tmp_path / "shop.inter").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=rf"{tmp_path.name}.inter is missing: give the folder that holds NAME.inter"
    ):
        RecBoleSource(".").settings(tmp_path)
    assert RecBoleSource(".").name == tmp_path.name


def test_items_of_one_title_are_one_item_for_recommending(tmp_path: Path) -> None:
    """As in training: 2 and 5 are Alien, and the first name of an item is its name."""
    path = tmp_path / "items.csv"
    path.write_text("id,title\n1,Heat\n2,Alien\n5,ALIEN \n2,Alien\n3,Usual Suspects\n")
    items = read_items(path, "id", "title", TextFormat())
    assert (items.titles, items.names) == (["Heat", "Alien", "Usual Suspects"], ["1", "2", "3"])
    assert [items.find(name) for name in ("1", "2", "5", "3")] == [0, 1, 1, 2]
    by_title = read_items(path, "title", "title", TextFormat())
    assert (by_title.titles, by_title.find("alien")) == (["Heat", "Alien", "Usual Suspects"], 1)
    log = tmp_path / "log.csv"
    log.write_text("user_id,id,timestamp\n" + "".join(f"a,{item},{item}\n" for item in (1, 2, 5, 3)))
    trained = TableSource(str(log), str(path), item_field="id").read(tmp_path)
    assert trained.titles == items.titles
    assert trained.item.tolist() == [items.find(name) for name in ("1", "2", "5", "3")]


def test_the_audit_is_told_the_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("reviewerID", "asin", "unixReviewTime", "name")
    path = tmp_path / "reviews.csv"
    rows = [(f"u{n % 9}", str(n * 7 % 60), str(n), f"T{n * 7 % 60}") for n in range(400)]
    path.write_text("\n".join(map(",".join, [names, *rows])) + "\n")
    assert audit([str(path)]) == 2
    assert "no column 'user' with the user among ['reviewerID'" in capsys.readouterr().err
    options = [
        text for pair in zip(("--user", "--item", "--time", "--title"), names, strict=True) for text in pair
    ]
    assert audit([str(path), *options]) in (0, 1)
    table = capsys.readouterr().out.splitlines()[1:]
    objects = tmp_path / "reviews.jsonl"
    objects.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    assert audit([str(objects), *options]) in (0, 1)
    assert capsys.readouterr().out.splitlines()[1:] == table
    assert audit([str(objects), "--user", "who"]) == 2
    assert "no column 'who' with the user among" in capsys.readouterr().err
    listed = tmp_path / "a.txt"
    listed.write_text("")
    assert audit([str(listed), "--user", "who"]) == 2
    assert "has no columns to name: leave --user out" in capsys.readouterr().err
