"""Every format on disk, clean and with each leak alone, through the command line."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from datamodules import PreferencePairsDataModule, RecommendationDataModule, audit_input
from datamodules.audit import AuditData, audit
from datamodules.audit.__main__ import main
from datamodules.audit.rows import NONE
from datamodules.audit.stored import stored_data
from datamodules.audit_input import read_audit_data
from datamodules.sources import PreferenceFiles, SDPOSource
from datamodules.store import SplitWriter, read_store, write_catalogue, write_tokenizer
from datamodules.tokenization import learn_tokenizer
from tests.conftest import write_atomic
from tests.datamodules.audit_samples import clean, drawn_by_target, faulty, placed_by_target

Writer = Callable[[Path, AuditData], Path]


def titles(data: AuditData, items: np.ndarray) -> list[str]:
    return [data.titles[item] for item in items.tolist() if item != NONE]


def write_sdpo(folder: Path, data: AuditData) -> Path:
    for split in data.splits:
        rows = [
            {
                "historyList": "::".join(titles(data, history)),
                "itemList": titles(data, items),
                "trueSelection": data.titles[target],
            }
            for history, items, target in zip(split.history, split.candidates, split.target, strict=True)
        ]
        (folder / f"data-{split.name}.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def write_preferences(folder: Path, data: AuditData) -> Path:
    for split in data.splits:
        lines = [
            json.dumps(
                {
                    "prompt": f"seen: {titles(data, history)}",
                    "chosen": data.titles[target],
                    "rejected": titles(data, items[items != target]),
                }
            )
            for history, items, target in zip(split.history, split.candidates, split.target, strict=True)
        ]
        (folder / f"{split.name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_built(folder: Path, data: AuditData) -> Path:
    tables, row = {}, 0
    for split in data.splits:
        count = len(split)
        tables[split.name] = pa.table(
            {
                "id": np.arange(row, row + count),
                "user": np.arange(row, row + count, dtype=np.int32),
                "target": split.target,
                "time": split.time,
                "history": split.history.tolist(),
                "candidates": split.candidates.tolist(),
            }
        )
        row += count
    none = np.zeros(1, dtype=np.int32)
    store = folder / "examples-0"
    store.mkdir()
    for name, table in tables.items():
        with SplitWriter(store, name) as writer:
            writer.add(table)
    write_catalogue(store, data.titles, [f"u{user}" for user in range(row)], (none, none))
    write_tokenizer(store, learn_tokenizer([" a"]), {})
    return store


WRITERS = {"sdpo": write_sdpo, "preferences": write_preferences, "built": write_built}

# Preference files have no order and no times, S-DPO files no times, and `chosen` is in its list by construction.
CASES = [
    (name, leak)
    for name, cannot in {
        "sdpo": {"late"},
        "preferences": {"late", "placed", "missing", "history"},
        "built": set(),
    }.items()
    for leak in ("clean", "placed", "drawn", "missing", "history", "repeated", "late")
    if leak not in cannot
]
REASON = {
    "placed": "places alone",
    "drawn": "negatives alone",
    "missing": "absent from its list",
    "history": "history item",
    "repeated": "also in an earlier split",
    "late": "later than the first row",
}


def with_leak(leak: str) -> AuditData:
    data = clean(11)
    if leak == "clean":
        return data
    if leak == "placed":
        return placed_by_target(data)
    if leak == "drawn":
        return drawn_by_target(data, shared=6)
    return faulty(data, leak, rows=20)


@pytest.mark.parametrize(("name", "leak"), CASES)
def test_every_format_with_each_leak_alone(
    name: str, leak: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = WRITERS[name](tmp_path, with_leak(leak))
    status = main([str(path)])
    _, _, verdict = capsys.readouterr().out.partition("\n\nCONDEMNED\n")
    if leak == "clean":
        assert (status, verdict) == (0, "")
    else:
        assert status == 1
        assert all(REASON[leak] in line for line in verdict.strip().splitlines())


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_read_is_what_was_written(name: str, tmp_path: Path) -> None:
    data = clean(12, sizes={"train": 20, "test": 10}) if name != "built" else clean(12)
    read = read_audit_data(WRITERS[name](tmp_path, data))
    assert [split.name for split in read.splits] == [split.name for split in data.splits]
    for split, original in zip(read.splits, data.splits, strict=True):
        assert titles(read, split.target) == titles(data, original.target)
        for mine, theirs in zip(split.candidates, original.candidates, strict=True):
            assert sorted(titles(read, mine)) == sorted(titles(data, theirs))
            if name != "preferences":
                assert titles(read, mine) == titles(data, theirs)
        if name != "preferences":
            for mine, theirs in zip(split.history, original.history, strict=True):
                assert titles(read, mine) == titles(data, theirs)


def test_one_file_is_judged_by_its_halves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_sdpo(tmp_path, drawn_by_target(clean(13), shared=9))
    assert main([str(folder / "data-train.json")]) == 1
    assert "second half of train: the negatives alone" in capsys.readouterr().out


def test_the_command_reshuffles_and_redraws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_sdpo(tmp_path, placed_by_target(clean(14)))
    assert main([str(folder)]) == 1
    assert main([str(folder), "--candidates", "reshuffled"]) == 0
    assert main([str(folder), "--candidates", "redrawn", "--seed", "3"]) == 0
    assert "candidates redrawn" in capsys.readouterr().out


def test_titles_that_read_alike_are_one_item_and_histories_may_be_lists(tmp_path: Path) -> None:
    rows = [
        {"historyList": ["A", "b  c"], "itemList": ["X", "y"], "trueSelection": " x"},
        {"historyList": "a::B C", "itemList": ["Y", "x"], "trueSelection": "X"},
        {"historyList": "", "itemList": ["Y", "x"], "trueSelection": "y"},
    ]
    path = tmp_path / "test.json"
    path.write_text(json.dumps(rows))
    (split,) = read_audit_data(path).splits
    assert split.is_target.sum(axis=1).tolist() == [1, 1, 1]
    assert (split.history[0] == split.history[1]).all()
    assert split.history[2].tolist() == [NONE, NONE]


def interactions() -> list[tuple[str, str, float]]:
    rng = np.random.default_rng(0)
    return [
        (f"u{u}", f"i{i}", float(t))
        for t, (u, i) in enumerate(
            zip(rng.integers(60, size=4000), rng.integers(400, size=4000), strict=True)
        )
    ]


def test_interactions_become_examples_with_the_projects_candidates_and_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = interactions()
    names = {f"i{n}": f"title {n}" for n in range(400)}
    folder = write_atomic(tmp_path / "small", "small", rows, names)
    user, item, time = (list(column) for column in zip(*rows, strict=True))
    table = pa.table({"user_id": user, "item_id": item, "timestamp": time, "title": [names[i] for i in item]})
    pq.write_table(table, tmp_path / "log.parquet")
    pyarrow.csv.write_csv(table.rename_columns(["user", "item", "time", "title"]), tmp_path / "log.csv")
    reports = []
    for path in (folder, folder / "small.inter", tmp_path / "log.parquet", tmp_path / "log.csv"):
        assert main([str(path)]) == 0
        reports.append(capsys.readouterr().out.partition("\n")[2])
    assert "later than the first row of a later split: 0 of" in reports[0]
    assert reports[0] == reports[1]
    assert reports[2] == reports[3]


def test_what_the_data_module_builds_passes(
    make_data: Callable[..., RecommendationDataModule], tmp_path: Path
) -> None:
    make_data()
    (folder,) = tmp_path.glob("examples-*")
    assert audit(stored_data(read_store(folder))).reasons == []


def test_the_defaults_are_the_data_modules() -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(RecommendationDataModule).parameters.items()
    }
    assert defaults["min_history"] == audit_input.MIN_HISTORY
    assert defaults["max_history"] == audit_input.MAX_HISTORY
    assert defaults["num_candidates"] == audit_input.NUM_CANDIDATES
    assert defaults["seed"] == audit_input.SEED


GOOD = '{"historyList": "a", "itemList": ["x"], "trueSelection": "x"}'
PAIR = '{"prompt": "p", "chosen": "c", "rejected": ["r"]}'
BAD = {
    "absent": (None, "does not exist"),
    "a.txt": ("", "'.txt' is no format that is known"),
    "a.json": ("[" + GOOD + ",\n{", "a.json, line 2: "),
    "b.json": ("{}", "b.json, line 1: no field 'historyList' among []"),
    "c.json": ("[]", "the c split has no rows"),
    "d.json": (f'[{GOOD},\n{{"historyList": "a"}}]', "d.json, line 2: no field 'itemList'"),
    "e.json": (
        '[{"historyList": "a", "itemList": [1], "trueSelection": "x"}]',
        "e.json, line 1: itemList '[1]' is not text",
    ),
    "f.json": (b"[\n\xff]", "f.json, line 2: invalid start byte: the file must be UTF-8"),
    "g.jsonl": (PAIR + '\n{"pro', "g.jsonl, line 2: "),
    "h.jsonl": (
        '\n{"prompt": "p", "chosen": "c"}',
        "h.jsonl, line 2: rejected 'None' is not text and not a list",
    ),
    "i.jsonl": (
        '{"prompt": "p", "chosen": 3, "rejected": ["r"]}',
        "i.jsonl, line 1: chosen '3' is not text",
    ),
    "j.csv": (
        "user,item,title\n1,2,x\n",
        "no column 'time' with the time among ['user', 'item', 'title']: name one with --time",
    ),
    "k.csv": ("user,item,time,title\n1,2,noon,x\n", "k.csv, line 2: time 'noon' is not a number"),
    "l.parquet": ("no Parquet", "l.parquet: "),
    "m.parquet": ("PAR1, but no more", "m.parquet: "),
    "n.inter": ("user_id:token\n", "n.item is missing"),
    "o.csv": ("", "o.csv: no column 'user' with the user among []"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_status_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = BAD[name]
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        (tmp_path / name).write_text(content)
    assert main([str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("a.json", GOOD, '{"historyList": "a"}'),
        ("a.jsonl", PAIR, '{"prompt": "p"}'),
        ("a.csv", None, "1,2,noon,x"),
    ],
)
def test_broken_rows_are_skipped_and_counted_on_request(
    name: str, good: str | None, bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if good is None:
        log = "".join(f"{user},{item},{time},title {item}\n" for user, item, time in interactions())
        path.write_text(f"user,item,time,title\n{log}{bad}\n")
    elif name.endswith("l"):
        path.write_text("\n".join([*[good] * 10, bad]))
    else:
        path.write_text(f"[{','.join([*[good] * 10, bad])}]")
    assert main([str(path)]) == 2
    assert main([str(path), "--skip-broken-rows"]) in (0, 1)
    assert "1 broken rows skipped" in capsys.readouterr().out


def test_where_there_are_no_times_the_report_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No time at all, from the published format to the audit of what was built of it, and never not-a-number."""
    folder = write_sdpo(tmp_path, clean(15))
    files = {split: str(folder / f"data-{split}.json") for split in ("train", "val", "test")}
    data = RecommendationDataModule(SDPOSource(**files), num_candidates=10, cache_dir=str(tmp_path / "cache"))
    data.prepare_data()
    data.setup("fit")
    assert data.store.splits["test"].data.table["time"].null_count == len(data.store.splits["test"])
    assert main([str(folder)]) == 0
    main([str(data.store.folder)])
    assert capsys.readouterr().out.count("later than its split allows: not checked: no times") == 2
    main([files["test"]])
    assert "in order but for their times, not checked: no times" in capsys.readouterr().out


def test_a_sample_of_a_store_is_spread_over_it(tmp_path: Path) -> None:
    """Batches of the written size, here of 1,000 rows each: the first and the last of three are read."""
    store = read_store(write_built(tmp_path, clean(16, sizes={"train": 3000, "val": 100, "test": 100})))
    whole, sample = (stored_data(store, most).splits for most in (None, 2000))
    assert [split.name for split in sample] == ["a sample of train", "val", "test"]
    rows = np.r_[:1000, 2000:3000]
    assert (sample[0].candidates == whole[0].candidates[rows]).all()
    assert (sample[1].target == whole[1].target).all()


def test_examples_of_another_kind_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join([PAIR] * 50))
    data = PreferencePairsDataModule(PreferenceFiles(str(path)), cache_dir=str(tmp_path))
    data.prepare_data()
    (folder,) = tmp_path.glob("examples-*")
    assert main([str(folder)]) == 2
    assert "the examples have no history: audit the files they were built from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no format that is known"),
        (["train.json", "other.json"], "names no split"),
        (["a-val.json", "b-valid.json"], "are both val"),
    ],
)
def test_folders_that_name_no_splits_are_refused(
    names: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        (tmp_path / name).write_text(f"[{GOOD}]")
    assert main([str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
