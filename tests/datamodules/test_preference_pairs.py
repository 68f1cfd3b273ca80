import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from datamodules import InputError, PreferencePairsDataModule
from datamodules.sampler import EqualWidthBatches
from datamodules.sources import PreferenceFiles
from tests.cli import config, run, supervised


def preference(n: int) -> dict[str, Any]:
    """One to four rejected responses."""
    rejected = [f"Wrong {n} {i} \U0001f3ac" for i in range(1 + n % 4)]
    return {
        "prompt": f"Question {n}: is {n} odd?\n",
        "chosen": f"{'Yes' if n % 2 else 'No'} {n}.",
        "rejected": rejected,
    }


ROWS = [preference(n) for n in range(60)]
MOST = 13


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return {
        "train": write(tmp_path / "train.jsonl", ROWS[:50]),
        "test": write(tmp_path / "test.jsonl", ROWS[50:]),
    }


def module(files: dict[str, Any], **settings: Any) -> PreferencePairsDataModule:
    settings = {
        "batch_size": 4,
        "eval_batch_size": 3,
        "cache_dir": str(Path(files["train"]).parent / "cache"),
        **settings,
    }
    data = PreferencePairsDataModule(PreferenceFiles(**files), **settings)
    data.prepare_data()
    data.setup("fit")
    return data


def texts(data: PreferencePairsDataModule, batch: Any) -> list[tuple[str, list[str]]]:
    """Reads prompts and responses back out of a packed batch."""
    packed, result = batch.packed, []
    for row in range(len(batch)):
        prompt = packed.input_ids[row][packed.segment_ids[row] == 0].tolist()
        tokens = [
            packed.target[row, r][packed.token_mask[row, r]].tolist() for r in range(packed.target.shape[1])
        ]
        assert all(own[-1] == data.tokenizer.eos_token_id for own in tokens if own)
        decode = lambda ids: data.tokenizer.decode(ids, clean_up_tokenization_spaces=False)  # noqa: E731
        result.append((decode(prompt[1:]), [decode(own[:-1]) for own in tokens if own]))
    return result


def test_a_training_batch_reads_as_its_rows(files) -> None:
    """The chosen response first, then all rejected ones in any order; absent ones have no token and the item -1."""
    data = module(files)
    seen = set()
    for batch in data.train_dataloader():
        rows = zip(batch.id.tolist(), batch.items.tolist(), texts(data, batch), strict=True)
        for example, items, (prompt, responses) in rows:
            row = ROWS[example]
            assert prompt == row["prompt"]
            assert responses[0] == row["chosen"]
            assert sorted(responses[1:]) == sorted(row["rejected"])
            assert [data.store.titles[item] for item in items if item >= 0] == responses
            seen.add(len(responses))
        assert torch.equal(batch.packed.lengths > 0, batch.items >= 0)
        assert batch.draws.shape == (len(batch), batch.items.shape[1] - 1)
    assert seen == {2, 3, 4, 5}


def test_fewer_negatives_are_a_fresh_subset_every_epoch(files) -> None:
    data = module(files, num_negatives=2)
    loader, seen = data.train_dataloader(), []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert all(batch.items.shape[1] <= 3 for batch in batches)
        seen.append(
            {e: set(i) for b in batches for e, i in zip(b.id.tolist(), b.items.tolist(), strict=True)}
        )
    many = [e for e in seen[0].keys() & seen[1].keys() if len(ROWS[e]["rejected"]) > 2]
    assert any(seen[0][e] != seen[1][e] for e in many)
    assert next(iter(module(files, num_negatives=0).train_dataloader())).items.shape == (4, 1)


def test_evaluation_ranks_every_row_once_without_absent_columns(files) -> None:
    data = module(files)
    ids, places = [], set()
    for batch in data.test_dataloader():
        assert (batch.packed.lengths > 0).all()
        rows = zip(batch.id.tolist(), batch.positive.tolist(), texts(data, batch), strict=True)
        for example, positive, (_, responses) in rows:
            row = ROWS[example]
            assert sorted(responses) == sorted([row["chosen"], *row["rejected"]])
            assert responses[positive] == row["chosen"]
            places.add(positive)
        ids += batch.id.tolist()
    assert sorted(ids) == list(range(50, 60))
    assert len(places) > 1


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_equal_width_batches_cover_every_row_once(world_size: int) -> None:
    widths = np.random.default_rng(0).integers(1, 5, size=37)
    batches = [b for rank in range(world_size) for b in EqualWidthBatches(widths, 4, rank, world_size)]
    assert sorted(row for batch in batches for _, row in batch) == list(range(37))
    assert all(len(batch) <= 4 and len({widths[row] for _, row in batch}) == 1 for batch in batches)


def test_a_long_prompt_loses_its_oldest_tokens(files) -> None:
    whole, short = module(files), module(files, max_length=MOST)
    cut = 0
    for long_row, row in zip(whole.store.splits["train"], short.store.splits["train"], strict=True):
        assert row["prompt"][0] == short.tokenizer.bos_token_id
        assert row["prompt"][1:] == long_row["prompt"][1:][-(len(row["prompt"]) - 1) :]
        assert len(row["prompt"]) + max(row["lengths"]) <= MOST
        if len(row["prompt"]) < len(long_row["prompt"]):
            cut += 1
            assert len(row["prompt"]) + max(row["lengths"]) == MOST
    assert 0 < cut < len(ROWS)


def test_a_response_that_leaves_no_room_names_its_line(files) -> None:
    with pytest.raises(
        InputError, match=r"train.jsonl, line 1: the longest response has \d+ tokens and .* 5,"
    ):
        module(files, max_length=5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a", "chosen": "b"}', "rejected 'None' is not text and not a list"),
        ('{"prompt": "a", "chosen": "b", "rejected": []}', "rejected is empty"),
        ('{"prompt": "a", "chosen": "b", "rejected": ["c", "b"]}', "a response stands there twice"),
        ('{"prompt": "a", "chosen": "b", "rejected": ["c", 3]}', "rejected holds something else than text"),
        ('{"prompt": "", "chosen": "b", "rejected": ["c"]}', "prompt is empty"),
        ('{"prompt": "a", "chosen": "b", "rej', "Invalid control character"),
        ("3", "'3' is not an object"),
        (
            '{"prompt": "a", "chosen": "b", "rejected": ["\\uD800"]}',
            r"'\\ud800' is half a character",
        ),
        ("[" * 100_000, "maximum recursion depth exceeded"),
        ("\u00e9", "Expecting value"),
    ],
)
def test_a_broken_row_is_named_or_skipped_and_counted(files, line: str, message: str) -> None:
    path = Path(files["train"])
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(InputError, match=f"train.jsonl, line 52: {message}"):
        module(files)
    assert (
        module({**files, "skip_broken_rows": True}).store.report["broken rows of train.jsonl, skipped"] == 1
    )


def test_wrong_encoding_and_missing_files_are_named(files) -> None:
    Path(files["train"]).write_bytes(b'{"prompt": "caf\xe9", "chosen": "b", "rejected": ["c"]}\n')
    with pytest.raises(InputError, match="train.jsonl, line 1: 'utf-8' codec can't decode"):
        module(files)
    with pytest.raises(InputError, match="none.jsonl is missing"):
        module({**files, "test": "none.jsonl"})


def test_empty_splits_are_refused(files, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty.jsonl is empty: restore the file"):
        module({**files, "test": write(tmp_path / "empty.jsonl", [])[:]} | {"train": files["train"]})
    data = module({"train": files["train"]})
    with pytest.raises(InputError, match=r"there is no test file: set source.test"):
        data.test_dataloader()


def settings_of(make, files: dict[str, str], **data: Any) -> dict[str, Any]:
    settings = make(Path())
    settings["data"] = {
        "class_path": "datamodules.PreferencePairsDataModule",
        "init_args": {"source": files, "batch_size": 4, **data},
    }
    return settings


def test_both_stages_train_test_and_predict_through_the_command_line(
    files, tmp_path: Path, monkeypatch
) -> None:
    """Ragged numbers of negatives, the modules of recommendation, the real command line."""
    monkeypatch.chdir(tmp_path)
    sft = run("fit", "sft", settings_of(supervised, files, num_negatives=0))
    settings = settings_of(config, files)
    settings["model"]["init_args"]["init_from"] = str(sft / "checkpoints/best.ckpt")
    folder = run("fit", "pairs", settings)
    metrics = (folder / "metrics.csv").read_text()
    assert "train/loss" in metrics
    assert "val/hit_ratio@1" in metrics
    run("test", "pairs", settings, "--ckpt_path", "best")
    run("predict", "pairs", settings, "--ckpt_path", "best")
    predictions = pq.read_table(folder / "predictions.parquet").to_pylist()
    assert [row["id"] for row in predictions] == list(range(50, 60))
    for row, given in zip(predictions, ROWS[50:], strict=True):
        assert sorted(row["candidates"]) == sorted([given["chosen"], *given["rejected"]])
        assert row["target"] == given["chosen"] == row["candidates"][row["rank"] - 1]
        assert sorted(row["scores"], reverse=True) == row["scores"]
        assert len(row["scores"]) == len(row["candidates"])
    with (folder / "metrics.csv").open() as file:
        tested = list(csv.DictReader(file))[-1]
    assert sum(1 / row["rank"] for row in predictions) / 10 == pytest.approx(
        float(tested["test/mrr"]), abs=1e-6
    )
