"""Both stages load and train; no time is asserted."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import loading
from benchmarks.workload import Workload


def test_the_tokens_are_those_of_the_batches(tiny_folder: Path, tmp_path: Path) -> None:
    """Prompt, and of every response all tokens but EOS, which is never an input."""
    data = Workload("quickstart", 3, 4, str(tmp_path), str(tiny_folder)).data_module()
    batch = next(iter(data.train_dataloader()))
    rows = {row["id"]: len(row["prompt"]) for row in data.store.splits["train"]}
    responses = int((batch.packed.lengths - 1).sum())
    assert loading._tokens(batch) == sum(rows[example] for example in batch.id.tolist()) + responses


def test_every_stage_and_number_of_processes_has_a_ratio(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "STAGES", {"sft": (2, 0), "dynamicpo": (2, 3)})
    arguments = ["--json", "--batches", "2", "--steps", "1", "--data", str(tiny_folder)]
    monkeypatch.setattr(sys, "argv", ["loading", *arguments, "--cache_dir", str(tmp_path)])
    loading.main()
    results = json.loads(capsys.readouterr().out)
    assert list(results) == ["sft", "dynamicpo"]
    for row in results.values():
        assert list(row["loader"]) == ["0", "2"]
        for workers, loaded in row["loader"].items():
            assert row["ratio"][workers] == pytest.approx(loaded / row["step"])
