"""Peak memory of a real run."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml

from benchmarks import memory
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
        peaks.append(memory.peak_gb(str(path), True, trainer__max_steps=1, data__cache_dir=tmp_path))
    assert 0.8 < peaks[1] - peaks[0] < 1.1


def test_a_run_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program in place of training, which would have to be imported first."""
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    (tmp_path / "train.py").write_text("import sys; sys.exit(f'error: {sys.argv[-1]} must lie in 0..7')")
    with pytest.raises(
        RuntimeError, match="x.yaml ended with status 1:\nerror: --data.num_negatives=99 must lie in"
    ):
        memory.peak_gb("x.yaml", True, data__num_negatives=99)
