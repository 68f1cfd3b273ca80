"""The best checkpoint of a run whose folder was moved, and of a run that begins with another one's weights."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from callbacks import BestCheckpoint


def resumed(folder: Path, start: Path, then: Path) -> BestCheckpoint:
    """Restores, in `folder`, what a checkpoint under `start` says of the best one, which then lay in `then`."""
    best = str(then / "best.ckpt")
    state = {
        "monitor": "val/hit_ratio@1", "best_model_score": torch.tensor(0.5), "best_model_path": best,
        "current_score": torch.tensor(0.4), "dirpath": str(then), "best_k_models": {best: torch.tensor(0.5)},
        "kth_best_model_path": best, "kth_value": torch.tensor(0.5), "last_model_path": "",
    }  # fmt: skip
    callback = BestCheckpoint(dirpath=folder, filename="best", monitor="val/hit_ratio@1", mode="max")
    callback.on_load_checkpoint(SimpleNamespace(ckpt_path=str(start / "last.ckpt")), None, {})  # type: ignore[arg-type]
    callback.load_state_dict(state)
    return callback


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/best.ckpt").touch()
    return tmp_path / "here"


@pytest.mark.parametrize("then", ["here", "before"])
def test_a_run_keeps_its_best_wherever_its_folder_was(folder: Path, then: str) -> None:
    """A later validation with .45 is no new best."""
    best = resumed(folder, folder, folder.parent / then)
    assert best.best_model_path == best.kth_best_model_path == str(folder / "best.ckpt")
    assert best.best_model_score == 0.5
    assert not best.check_monitor_top_k(
        SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool)), torch.tensor(0.45)
    )  # type: ignore[arg-type]


def test_another_runs_best_is_not_this_runs(folder: Path) -> None:
    best = resumed(folder, folder.parent / "other", folder.parent / "other")
    assert (best.best_model_path, best.best_model_score, best.best_k_models) == ("", None, {})


def test_a_best_that_is_gone_is_forgotten(folder: Path) -> None:
    (folder / "best.ckpt").unlink()
    assert resumed(folder, folder, folder).best_model_score is None
