"""The cache against the live reference: unit laws, real runs, torn files, two processes."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import RecommendationDataModule
from datamodules.batches import Batch
from datamodules.errors import InputError
from lightning_modules.reference import FrozenAdapter, FrozenCopy
from lightning_modules.reference_cache import CachedReference, ReferenceStore
from tests.cli import config, run, supervised, weights
from tests.many_runs import Run, many_runs


def first_batch(data: RecommendationDataModule, **loader: Any) -> Batch:
    return next(iter(data.candidates_loader(data.training_rows(2, 100), 64, **loader)))


def fake_scores(batch: Batch) -> torch.Tensor:
    """A number that tells which example and item it belongs to."""
    return batch.id[:, None] * 100.0 + batch.items


@pytest.fixture
def filled(make_data, tmp_path: Path) -> tuple[RecommendationDataModule, ReferenceStore]:
    data = make_data(num_negatives=3)
    store = ReferenceStore(tmp_path / "cache")
    store.fill([first_batch(data)], fake_scores)
    return data, store


def test_any_subset_of_the_candidates_is_found(filled) -> None:
    data, store = filled
    ids = data.store.splits["train"].data.table["id"].to_numpy()[data.training_rows(2, 100)]
    cached = store.load(ids)
    seen = 0
    for batch, _ in zip(data.train_dataloader(), range(2), strict=False):
        torch.testing.assert_close(cached(batch), fake_scores(batch), rtol=0, atol=0)
        seen += len(batch)
    assert seen == len(ids) == 8
    assert not store.missing(ids).any()


def test_an_unknown_example_or_item_is_nan_and_an_absent_response_zero() -> None:
    cached = CachedReference(
        torch.tensor([3, 7]), torch.tensor([[1, 2], [4, -1]]), torch.tensor([[-1.0, -2.0], [-4.0, 0.0]])
    )
    batch = Batch(*[None] * 7)  # type: ignore[arg-type]
    batch.id, batch.items = torch.tensor([7, 3, 5, 9]), torch.tensor([[4, -1], [2, 8], [1, 2], [4, -1]])
    expected = torch.tensor([[-4.0, 0.0], [-2.0, torch.nan], [torch.nan] * 2, [torch.nan, 0.0]])
    torch.testing.assert_close(cached(batch), expected, equal_nan=True)
    assert cached.missed == 9  # one of 3, 5 and 9


def test_a_run_visits_what_the_cache_was_filled_for(make_data) -> None:
    data = make_data(num_negatives=3)
    table = data.store.splits["train"].data.table["id"].to_numpy()
    per_epoch = len(data.train_dataloader())
    sampler = data.train_dataloader().sampler
    for epochs, batches, limit in ((1, 5, per_epoch), (2, per_epoch + 3, per_epoch), (3, 9, 4)):
        visited = set()
        for epoch in range(epochs):
            visited |= set(table[sampler.rows_of(epoch)[: min(limit, batches - epoch * limit)]].ravel())
        assert set(table[data.training_rows(batches, limit)]) == visited
    assert len(data.training_rows(float("inf"), per_epoch)) == len(table)


def test_a_run_that_goes_on_visits_the_rest_of_its_epoch_first(make_data) -> None:
    """After 3 batches of the second epoch, of which 5 are trained on: 2 of it, 5 of the third, 1 of the fourth."""
    data = make_data(num_negatives=3)
    sampler = data.train_dataloader().sampler
    data._start = (1, 3)
    visited = [sampler.rows_of(1)[3:5], sampler.rows_of(2)[:5], sampler.rows_of(3)[:1]]
    assert set(data.training_rows(8, 5)) == {row for rows in visited for row in rows.ravel().tolist()}


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_shard_is_told_and_computed_again(filled, damage: str) -> None:
    data, store = filled
    ids = data.store.splits["train"].data.table["id"].to_numpy()[data.training_rows(2, 100)]
    (shard,) = store.folder.glob("*.arrow")
    content = bytearray(shard.read_bytes())
    wanted = fake_scores(first_batch(data)).float().numpy()[0, :2].tobytes()
    if damage == "changed":
        content[content.index(wanted)] ^= 1
    shard.write_bytes({"cut": content[:-20], "changed": content, "empty": b""}[damage])
    with pytest.warns(UserWarning, match="torn or was changed"):
        assert store.missing(ids).all()
    store.fill([first_batch(data)], fake_scores)
    assert len(store.load(ids).ids) == len(ids)


def test_two_writers_of_the_same_examples_do_no_harm(filled) -> None:
    data, store = filled
    store.fill([first_batch(data)], fake_scores)
    ids = data.store.splits["train"].data.table["id"].to_numpy()[data.training_rows(2, 100)]
    assert store.load(ids).ids.tolist() == sorted(ids)


def test_a_folder_that_other_processes_do_not_see_is_refused(filled) -> None:
    _, store = filled
    with pytest.raises(
        InputError, match="lacks 1 of 1 examples, the first is 1000000,.*that all of them see"
    ):
        store.load(torch.tensor([10**6]).numpy())


@pytest.fixture
def sft(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora) -> str:
    monkeypatch.chdir(tmp_path)
    settings = supervised(tiny_folder)
    settings["model"]["init_args"]["lora"] = lora
    return str((run("fit", "sft", settings) / "checkpoints/best.ckpt").resolve())


def no_forward(*_: Any) -> torch.Tensor:
    raise AssertionError("a reference forward was run")


@pytest.mark.parametrize("lora", [None, {"rank": 2}])
def test_a_second_run_needs_no_reference_forward(tiny_folder: Path, sft: str, lora, monkeypatch) -> None:
    """Other K and objective, same weights as with the live reference."""
    live = config(tiny_folder, init_from=sft, lora=lora)
    cached = config(tiny_folder, init_from=sft, lora=lora, reference_cache="cache")
    run("fit", "first", cached)
    with monkeypatch.context() as patch:
        patch.setattr(FrozenCopy, "forward", no_forward)
        patch.setattr(FrozenAdapter, "forward", no_forward)
        for settings in (live, cached):
            settings["data"]["init_args"]["num_negatives"] = 2
            settings["model"]["init_args"]["objective"] = {
                "class_path": "losses.SDPO",
                "init_args": {"beta": 0.5},
            }
        second = run("fit", "second", cached)
        with pytest.raises(AssertionError, match="forward was run"):
            run("fit", "live", live)
    expected = run("fit", "live", live)
    found, wanted = (weights(folder / "checkpoints/last.ckpt") for folder in (second, expected))
    for key in wanted:
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lora", [None])
def test_resuming_with_a_cache_is_bit_identical_and_a_new_stage_1_fills_anew(
    tiny_folder: Path, sft: str, lora
) -> None:
    settings = config(tiny_folder, init_from=sft, reference_cache="cache")
    whole = run("fit", "whole", settings)
    (folder,) = Path("cache").glob("reference-*")

    crashing = config(tiny_folder, init_from=sft, reference_cache="cache")
    crashing["trainer"]["callbacks"].append({"class_path": "tests.cli.Crash", "init_args": {"after_step": 8}})
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "torn", crashing)
    torn = run("fit", "torn", settings, "--ckpt_path", "last")
    for key, value in weights(whole / "checkpoints/last.ckpt").items():
        assert torch.equal(weights(torn / "checkpoints/last.ckpt")[key], value)

    settings["model"]["init_args"]["init_from"] = str(whole / "checkpoints/last.ckpt")
    run("fit", "next", settings)
    assert len(list(Path("cache").glob("reference-*"))) == 2
    assert list(folder.glob("*.arrow"))


@pytest.mark.parametrize("lora", [None])
def test_an_example_that_slipped_through_is_named(
    tiny_folder: Path, sft: str, lora, monkeypatch, capsys
) -> None:
    every_row = RecommendationDataModule.training_rows
    monkeypatch.setattr(
        RecommendationDataModule, "training_rows", lambda self, *args: every_row(self, *args)[:-1]
    )
    with pytest.raises(SystemExit):
        run("fit", "gap", config(tiny_folder, init_from=sft, reference_cache="cache"))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert re.search(r"the reference cache lacks example \d+: set model.reference_cache null", line)
    assert "learning rate" not in line


@pytest.mark.parametrize("lora", [None])
def test_two_ranks_fill_one_cache(tiny_folder: Path, tmp_path: Path, sft: str, lora) -> None:
    settings = config(tiny_folder, init_from=sft, reference_cache=str(tmp_path / "shared"))
    settings["trainer"] |= {"precision": "64-true", "max_steps": 4, "limit_val_batches": 0}
    settings["model"]["init_args"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05}}
    many_runs(tmp_path, Run("2", settings))
    (folder,) = (tmp_path / "shared").glob("reference-*")
    written = sorted(folder.glob("*.arrow"))
    assert len(written) == 2
    many_runs(tmp_path, Run("1", settings, ("--data.batch_size", "8"), processes=1))
    assert sorted(folder.glob("*.arrow")) == written, "the second run found all that the two ranks wrote"
    two, one = (weights(tmp_path / f"{n}/checkpoints/last.ckpt") for n in (2, 1))
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=0, atol=1e-6)
