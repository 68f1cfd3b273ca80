"""What is counted, by an independent count; what is timed, by a clock that strikes once whenever it is read."""

import csv
import itertools
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.profilers import PassThroughProfiler, SimpleProfiler
from torch import Tensor

from callbacks.throughput import Stopwatch
from datamodules import RecommendationDataModule
from datamodules.sources import RecBoleSource
from tests.cli import config, run, supervised, weights


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class LongValidation(pl.Callback):
    """Reads the clock a hundred times in every validation batch."""

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        for _ in range(100):
            time.perf_counter()


def measured(settings: dict[str, Any], name: str = "measured") -> tuple[Path, list[dict[str, str]]]:
    classes = ("callbacks.Throughput", "tests.callbacks.test_throughput.LongValidation")
    settings["trainer"]["callbacks"] = [{"class_path": each} for each in classes]
    folder = run("fit", name, settings)
    with (folder / "metrics.csv").open() as file:
        return folder, [line for line in csv.DictReader(file) if line["train/loss"]]


def pairs(tiny_folder: Path, num_negatives: int) -> list[list[Tensor]]:
    """Segment ids of the batches of 12 steps, two at a time, as they stand between log lines."""
    data = RecommendationDataModule(
        RecBoleSource(str(tiny_folder)),
        num_candidates=8,
        num_negatives=num_negatives,
        batch_size=4,
        max_val_examples=16,
        max_test_examples=21,
    )
    data.prepare_data()
    data.setup("fit")
    batches = [batch.packed.segment_ids for batch in itertools.islice(data.train_dataloader(), 12)]
    return [batches[first : first + 2] for first in range(0, 12, 2)]


def test_weights_are_bit_identical_with_it_and_without(tiny_folder: Path) -> None:
    plain = run("fit", "plain", config(tiny_folder, lora={"rank": 2}))
    folder, lines = measured(config(tiny_folder, lora={"rank": 2}))
    expected, found = (weights(each / "checkpoints/last.ckpt") for each in (plain, folder))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert len(lines) == 6
    for line in lines:
        assert 0 < float(line["throughput/padding_share"]) < 1
        for name in (
            "tokens_per_second",
            "peak_memory_mb",
            "data_seconds",
            "policy_seconds",
            "reference_seconds",
        ):
            assert float(line[f"throughput/{name}"]) > 0


def test_padding_is_what_the_batches_hold(tiny_folder: Path) -> None:
    """Two batches between log lines: places without a token over all places."""
    _, lines = measured(supervised(tiny_folder))
    for line, pair in zip(lines, pairs(tiny_folder, num_negatives=0), strict=True):
        padding = sum(int((each == -1).sum()) for each in pair) / sum(each.numel() for each in pair)
        assert abs(float(line["throughput/padding_share"]) - padding) < 1e-9
    assert "throughput/reference_seconds" not in lines[0], "a supervised run has no reference"


def test_time_goes_to_data_policy_and_reference(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock strikes once whenever it is read.

    Waiting for a batch is read at its start and its end, 1. A step is read at its start, the reference's start and end,
    and its end: 3 in all, 1 of them the reference's. From one log line to the next, two batches have read it 12 times,
    and the line itself once: 13. A validation reads it when it begins and when it ends; what lies between is taken out,
    which leaves one strike more: 14 after the validation of step 6.
    """
    strikes = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(strikes)))
    _, lines = measured(config(tiny_folder))
    batches = pairs(tiny_folder, num_negatives=5)
    for line, pair, struck in zip(lines, batches, (13, 13, 13, 14, 13, 13), strict=True):
        tokens = sum(int((each >= 0).sum()) for each in pair)
        assert abs(float(line["throughput/tokens_per_second"]) - tokens / struck) < 1e-4 * tokens
        seconds = [float(line[f"throughput/{name}_seconds"]) for name in ("data", "policy", "reference")]
        assert seconds == [1.0, 2.0, 1.0]


def test_another_profiler_goes_on() -> None:
    inner = SimpleProfiler()
    watch = Stopwatch(inner)
    watch.reset()
    with watch.profile("anything"), watch.profile("run_training_batch"):
        pass
    assert set(inner.recorded_durations) == {"anything", "run_training_batch"}
    assert watch.seconds["run_training_batch"] > 0
    quiet = Stopwatch(PassThroughProfiler())
    quiet.reset()
    with quiet.profile("anything"):
        pass
    assert set(quiet.seconds.values()) == {0.0}
