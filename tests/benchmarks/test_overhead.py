from pathlib import Path

import pytest
import yaml

from benchmarks.overhead import durations, shares
from benchmarks.sweep import seconds_per_step
from tests.cli import config


@pytest.mark.slow
def test_the_parts_of_a_real_run_make_a_whole(tiny_folder: Path, tmp_path: Path) -> None:
    settings = config(tiny_folder)
    settings["model"]["init_args"]["reference_cache"] = str(tmp_path / "cache")
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    found = durations(str(path), 14, str(tmp_path))
    parts = shares(found)
    assert 0.3 < parts["model"] < 1
    assert 0 < parts["data"] < 0.5
    assert 0 < parts["callbacks"] < 0.5
    assert parts["model"] + parts["data"] + parts["callbacks"] <= 1 + 1e-9
    assert seconds_per_step(found, 14) * 14 > sum(found["run_training_batch"])


def test_shares_by_hand() -> None:
    found = {
        "run_training_epoch": [100.0],
        "run_training_batch": [3.0] * 10 + [1.0] * 20,
        "[LightningModule]PreferenceModule.optimizer_step": [2.9] * 10 + [0.9] * 20,
        "[_TrainingEpochLoop].train_dataloader_next": [0.5] * 10 + [0.25] * 20,
        "[Callback]X.on_train_batch_end": [1.0] * 10 + [0.5] * 20,
    }
    parts = shares(found)  # 100 - 45 of the first ten steps leave 55 for 20 steps: 20 batch, 5 data, 30 else
    assert parts == {"step": 2.75, "model": 18 / 55, "data": 5 / 55, "callbacks": 30 / 55}
