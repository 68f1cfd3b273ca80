"""Peak memory of a real run."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml

from benchmarks.memory import peak_gb
from tests.cli import config


class Ballast(pl.Callback):
    """Takes memory when training starts, and gives it back at once."""

    def __init__(self, gigabytes: float) -> None:
        self._floats = int(gigabytes * 1e9 / 4)

    def on_train_start(self, *_: Any) -> None:
        torch.ones(self._floats)


@pytest.mark.slow
def test_a_gigabyte_that_was_given_back_is_in_the_peak(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    peaks = []
    for gigabytes in (0.0, 1.0):
        settings = config(tiny_folder)
        settings["trainer"]["callbacks"] = [
            {"class_path": "tests.benchmarks.test_memory.Ballast", "init_args": {"gigabytes": gigabytes}}
        ]
        path.write_text(yaml.safe_dump(settings))
        peaks.append(peak_gb(str(path), True, trainer__max_steps=1, data__cache_dir=tmp_path))
    assert 0.8 < peaks[1] - peaks[0] < 1.1


def test_a_run_that_fails_says_why(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config(tiny_folder)))
    with pytest.raises(RuntimeError, match="error: num_negatives=99 must lie in"):
        peak_gb(str(path), True, data__num_negatives=99)
