import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import InputError, RecommendationDataModule
from datamodules.sources import MovieLens100k, RecBoleSource, movielens
from tests.cli import config, run
from tests.conftest import tiny_titles, write_atomic


def test_a_second_start_builds_nothing(make_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_data()
    (folder,) = tmp_path.glob("examples-*")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(RecommendationDataModule, "_build", lambda *_: pytest.fail("built again"))
    again = make_data()
    assert again.fingerprint == first.fingerprint
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    "settings",
    [{"seed": 1}, {"num_candidates": 7}, {"max_history": 9}, {"templates": ["{history} {candidates}"]}],
)
def test_every_setting_that_shapes_the_data_changes_the_fingerprint(make_data, settings) -> None:
    assert make_data(**settings).fingerprint != make_data().fingerprint


def test_settings_of_training_keep_the_fingerprint(make_data) -> None:
    assert make_data(num_negatives=5, batch_size=2, order_seed=3).fingerprint == make_data().fingerprint


def test_changed_files_are_other_data(make_data, tiny_folder: Path) -> None:
    before = make_data().fingerprint
    file = tiny_folder / "tiny.inter"
    content = file.read_bytes()
    try:
        file.write_bytes(content.rsplit(b"\n", 2)[0] + b"\n")
        assert make_data().fingerprint != before
    finally:
        file.write_bytes(content)


def test_batches_put_the_positive_first_and_fresh_negatives_after_it(make_data) -> None:
    data: RecommendationDataModule = make_data(num_negatives=4)
    stored = {row["id"]: row for row in data.store.splits["train"]}
    loader = data.train_dataloader()
    seen = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        negatives = {}
        for batch in loader:
            assert (batch.positive == 0).all()
            for example, items, history in zip(
                batch.id.tolist(), batch.items.tolist(), batch.history, strict=True
            ):
                row = stored[example]
                assert items[0] == row["target"]
                assert len(set(items)) == 5
                assert set(items) <= set(row["candidates"])
                assert history[history >= 0].tolist() == row["history"]
                negatives[example] = items[1:]
        seen.append(negatives)
    common = seen[0].keys() & seen[1].keys()
    assert sum(set(seen[0][e]) != set(seen[1][e]) for e in common) > 0.8 * len(common)


def test_workers_give_the_same_batches(make_data) -> None:
    here = list(make_data(num_negatives=3).train_dataloader())
    there = list(make_data(num_negatives=3, num_workers=2).train_dataloader())
    assert len(here) == len(there) > 10
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.id, b.id)
        assert torch.equal(a.packed.input_ids, b.packed.input_ids)
        assert torch.equal(a.draws, b.draws)


def test_evaluation_ranks_all_candidates_in_the_prompts_order(make_data) -> None:
    data: RecommendationDataModule = make_data(max_test_examples=20)
    rows = {row["id"]: row for row in data.store.splits["test"]}
    assert len(rows) == 20
    ids = []
    for batch in data.test_dataloader():
        ids += batch.id.tolist()
        for example, items, positive in zip(
            batch.id.tolist(), batch.items.tolist(), batch.positive.tolist(), strict=True
        ):
            assert items == rows[example]["candidates"]
            assert items[positive] == rows[example]["target"]
    assert sorted(ids) == sorted(rows)


def test_candidates_stay_away_from_the_users_items(make_data) -> None:
    data: RecommendationDataModule = make_data()
    log = data.source.read(data.cache_dir)
    consumed = set(zip(log.user.tolist(), log.item.tolist(), strict=True))
    for split in data.store.splits.values():
        for row in split:
            assert all(
                item == row["target"] or (row["user"], item) not in consumed for item in row["candidates"]
            )


def test_what_was_skipped_is_counted(tmp_path: Path) -> None:
    rows = [("long", f"i{n}", float(n)) for n in range(30)] + [("short", "i3", 1.0)]
    folder = write_atomic(tmp_path / "few", "few", rows, tiny_titles())
    data = RecommendationDataModule(RecBoleSource(str(folder)), num_candidates=5, cache_dir=str(tmp_path))
    data.prepare_data()
    data.setup("fit")
    assert data.store.report["users with too short a history, skipped"] == 1
    assert data.store.report["interactions"] == 31


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("num_candidates", 1), ("num_candidates", 0), ("batch_size", 0), ("eval_batch_size", 0)],
        *[("max_val_examples", 0), ("max_test_examples", -1)],
    ],
)
def test_settings_that_leave_nothing_to_do_are_refused_at_once(
    tiny_folder: Path, name: str, value: int
) -> None:
    with pytest.raises(ValueError, match=f"{name}={value} must be at least"):
        RecommendationDataModule(RecBoleSource(str(tiny_folder)), **{name: value})


@pytest.mark.parametrize("num_negatives", [-1, 20])
def test_more_negatives_than_there_are_is_refused_at_once(tiny_folder: Path, num_negatives: int) -> None:
    with pytest.raises(ValueError, match=f"num_negatives={num_negatives} must lie in 0..19"):
        RecommendationDataModule(RecBoleSource(str(tiny_folder)), num_negatives=num_negatives)


def test_a_failed_build_leaves_nothing_behind(make_data, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        make_data(max_length=20)
    with pytest.raises(InputError, match="lower num_candidates"):
        make_data(num_candidates=60)
    assert list(tmp_path.glob("*examples-*")) == []


def test_a_broken_store_is_named(make_data, tmp_path: Path) -> None:
    data = make_data()
    (tmp_path / f"examples-{data.fingerprint}" / "report.json").write_text("{")
    with pytest.raises(InputError, match="is broken .*: delete it, it will be built again"):
        make_data()


def test_a_batch_larger_than_the_data_is_refused(make_data) -> None:
    with pytest.raises(InputError, match="594 training examples are fewer than the global batch 5000"):
        make_data(batch_size=5000).train_dataloader()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda inter, item: inter.unlink(), "tiny.inter is missing"),
        (
            lambda inter, item: inter.write_text(inter.read_text().replace("\t1.0\n", "\tsoon\n")),
            r"line \d+: time 'soon' is not a number",
        ),
        (
            lambda inter, item: inter.write_text(inter.read_text() + "u1\tnowhere\t3.0\n"),
            "line 902: item 'nowhere' is not in tiny.item",
        ),
        (
            lambda inter, item: item.write_text(item.read_text().replace("title:", "name:")),
            "no field 'title' among",
        ),
        (lambda inter, item: inter.write_text(inter.read_text() + "u1\ti1\n"), "Expected 3 columns, got 2"),
        (
            lambda inter, item: inter.write_text("user_id:token\titem_id:token\ttimestamp:float\n"),
            "no rows under the header",
        ),
    ],
)
def test_broken_files_are_one_clear_line(tiny_folder: Path, tmp_path: Path, change, message: str) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("tiny.inter", "tiny.item"):
        (folder / name).write_bytes((tiny_folder / name).read_bytes())
    change(folder / "tiny.inter", folder / "tiny.item")
    source = RecBoleSource(str(folder))
    with pytest.raises(InputError, match=message) as caught:
        source.fingerprint(tmp_path)
        source.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_movielens_says_both_remedies_where_nothing_can_be_fetched(tmp_path: Path, monkeypatch) -> None:
    def fail() -> dict[str, bytes]:
        raise OSError("no route")

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(movielens, "_from_grouplens", fail)
    with pytest.raises(
        InputError,
        match=r"No matching .*: make `pip download recbole==1\.2\.1` work; no route; or unpack .*zip",
    ):
        MovieLens100k().prepare(tmp_path)


def test_corrupt_movielens_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(movielens, "_from_wheel", lambda: {"ml-100k.inter": b"x", "ml-100k.item": b"y"})
    with pytest.raises(InputError, match="fetched ml-100k.inter has SHA-256"):
        MovieLens100k().prepare(tmp_path)
    assert list((tmp_path / "ml-100k").iterdir()) == []
    for name in ("ml-100k.inter", "ml-100k.item"):
        (tmp_path / "ml-100k" / name).write_bytes(b"corrupt")
    with pytest.raises(InputError, match="delete it and try again"):
        MovieLens100k().prepare(tmp_path)


def test_grouplens_files_become_recboles() -> None:
    """Three rows as GroupLens publishes them, and what RecBole's file says of the same items."""
    flags = "|".join("1" if n in (3, 4, 5) else "0" for n in range(19))
    films = f"1|Toy Story (1995)|01-Jan-1995||http://x|{flags}\n267|unknown||||1{'|0' * 18}\n"
    films += (
        f"1412|Land Before Time III: The Time of the Great Giving (1995) (V)|01-Jan-1995||http://x|{flags}\n"
    )
    lines = movielens._to_item(films).decode().splitlines()
    assert lines[1] == "1\tToy Story\t1995\tAnimation Children's Comedy"
    assert lines[2] == "267\tunkonwn\tunkonwn\tunknown"
    assert lines[3].split("\t")[1:3] == ["Land Before Time III: The Time of the Great Giving (1995)", "V"]
    assert (
        movielens._to_inter("196\t242\t3\t881250949\n").decode().splitlines()[1] == "196\t242\t3\t881250949"
    )


def test_the_report_is_plain_json(make_data, tmp_path: Path) -> None:
    data = make_data()
    report = json.loads((tmp_path / f"examples-{data.fingerprint}" / "report.json").read_text())
    assert report["train examples"] == len(data.store.splits["train"])
    assert (
        np.sum([len(split) for split in data.store.splits.values()])
        == report["train examples"] + report["val examples kept"] + report["test examples kept"]
    )


def test_filters_come_from_the_config_and_report_what_they_dropped(tmp_path: Path, monkeypatch) -> None:
    """Nine users with 30 interactions and one with 3, popularity-weighted candidates, through the real command line."""
    rows = [(f"u{u}", f"i{(n * (u + 1)) % 40}", float(n)) for u in range(9) for n in range(30)]
    rows += [("few", f"i{n}", float(n)) for n in range(3)]
    folder = write_atomic(tmp_path / "small", "small", rows, tiny_titles())
    settings = config(folder)
    init = settings["data"]["init_args"]
    init["source"]["init_args"] |= {
        "rating_field": "timestamp",
        "filters": [
            {"class_path": "datamodules.filters.MinRating", "init_args": {"threshold": 1.0}},
            {"class_path": "datamodules.filters.KCore", "init_args": {"k": 4}},
            {"class_path": "datamodules.filters.Deduplicate"},
        ],
    }
    init["candidates"] = {
        "class_path": "datamodules.candidates.Redrawn",
        "init_args": {
            "weighting": {"class_path": "datamodules.candidates.Popularity", "init_args": {"power": 0.5}}
        },
    }
    init["rows_per_chunk"] = 7
    monkeypatch.chdir(tmp_path)
    run("fit", "filtered", settings)
    (report,) = (json.loads(path.read_text()) for path in tmp_path.glob("cache/*/report.json"))
    assert report["interactions dropped by MinRating(threshold=1.0)"] == 10
    assert report["interactions dropped by KCore(k=4)"] >= 2
    assert report["users"] == 9
    assert "interactions dropped by Deduplicate()" in report


def test_the_size_of_chunks_changes_nothing(make_data, tmp_path: Path) -> None:
    whole, parts = make_data(), make_data(cache_dir=str(tmp_path / "parts"), rows_per_chunk=7)
    assert whole.fingerprint == parts.fingerprint
    for split, rows in whole.store.splits.items():
        assert list(rows) == list(parts.store.splits[split])
