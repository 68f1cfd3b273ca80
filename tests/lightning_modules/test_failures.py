"""What a user's input makes fail is told in one line, with status 2; a bug keeps its traceback."""

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules.errors import InputError, make_folder
from lightning_modules.failures import failure_line
from lightning_modules.run_folder import resolve_checkpoint, resolve_stage
from lightning_modules.trainer_modes import require_modes
from tests.cli import config, run, supervised


def slow(*values: Any):
    return pytest.param(*values, marks=pytest.mark.slow)


def os_error(number: int, path: str | None = "a/b") -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("x"), "x"),
        (MisconfigurationException("two\n  lines"), "two lines"),
        (
            RuntimeError("Early stopping conditioned on metric `x`"),
            "Early stopping conditioned on metric `x`",
        ),
        (os_error(errno.ENOSPC), "a/b: No space left on device: free some space there"),
        (os_error(errno.EROFS), "a/b: Read-only file system: make it accessible, or name another path"),
        (os_error(errno.EACCES), "a/b: Permission denied: make it accessible, or name another path"),
        (
            InputError(
                "Caught InputError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
                '  File "x.py", line 3\ndatamodules.errors.InputError: row 7: no title: mend it'
            ),
            "row 7: no title: mend it",
        ),
    ],
)
def test_an_error_of_the_input_is_a_line(error: Exception, line: str) -> None:
    assert failure_line(error) == line


def test_out_of_memory_names_the_settings() -> None:
    with pytest.raises(RuntimeError) as of_the_cpu:
        torch.empty(10**16)
    for error in (of_the_cpu.value, MemoryError("x"), torch.OutOfMemoryError("CUDA out of memory.\nTried")):
        assert "out of memory: " in failure_line(error)
        assert "data.batch_size" in failure_line(error)
        assert "\n" not in failure_line(error)


@pytest.mark.parametrize(
    "error",
    [
        os_error(errno.ENOENT),  # a missing file is the user's where a reader says so
        os_error(errno.ENOSPC, None),
        RuntimeError("Expected all tensors to be on the same device"),
        ValueError("a bug"),
        TypeError("a bug"),
        KeyError("a bug"),
        AssertionError(),
    ],
)
def test_a_bug_is_none(error: Exception) -> None:
    assert failure_line(error) is None


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"folder .*/file cannot be made \(a file has its name\): move it"):
        make_folder(tmp_path / "file", "move it")
    with pytest.raises(InputError, match=r"folder .*/file/x cannot be made \(Not a directory\): move it"):
        make_folder(tmp_path / "file/x", "move it")

    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        raise os_error(errno.EROFS, str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match=r"cannot be made \(Read-only file system\): move it"):
        make_folder(tmp_path / "new", "move it")


def test_a_runs_folder_means_its_best_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    (folder / "checkpoints").mkdir(parents=True)
    assert resolve_stage(str(folder), Path("elsewhere")) == str(folder)  # no checkpoint: said when it is read
    best = folder / "checkpoints/best.ckpt"
    best.touch()
    assert resolve_stage(str(folder), Path("elsewhere")) == str(best)
    assert resolve_stage(f"{folder}/", Path("elsewhere")) == str(best)
    assert resolve_stage(str(folder / "checkpoints"), Path("elsewhere")) == str(best)
    assert resolve_stage(str(best), Path("elsewhere")) == str(best)
    with pytest.raises(InputError, match=f"{folder} is a folder: give a file in it, such as {best}"):
        resolve_checkpoint(str(folder), Path("elsewhere"))
    with pytest.raises(InputError, match="--ckpt_path is empty: give best, last, or the path"):
        resolve_checkpoint("", Path("elsewhere"))


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for accelerator in ("gpu", "cuda"):
        with pytest.raises(
            InputError, match=f"accelerator is {accelerator} and torch finds none on this machine"
        ):
            require_modes("test", {"accelerator": accelerator, "barebones": False}, resumed=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, so that the examples are built once."""
    folder = tmp_path_factory.mktemp("failures")
    (folder / "file").touch()
    (folder / "blocked").mkdir()
    (folder / "blocked/checkpoints").touch()
    (folder / "a.pkl").write_bytes(pickle.dumps({"a": 1}))
    (folder / "whole").mkdir()
    (folder / "whole/config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (
            "--model.objective losses.DPO",
            "prompts have up to 5 negatives and the objective compares 1: set --data.num_negatives 1",
        ),
        ("--model.optimizer.lr -1", "model.optimizer: Invalid learning rate: -1.0"),
        slow("--model.language_model.hidden_size 33", "hidden_size=33 must be a multiple of twice num_attention_heads"),
        ("--model.reference_cache file", "folder file/reference-"),
        slow("--data.cache_dir file", "folder file cannot be made (a file has its name): name"),
        slow("--trainer.default_root_dir file/x", "folder file/x cannot be made (Not a directory): name another"),
        slow("--outputs file", "folder file/tiny/x cannot be made (Not a directory): name another"),
        ("--trainer.default_root_dir blocked", "blocked/checkpoints is a file and checkpoints go there: move it"),
        ("--trainer.devices foo", "trainer: `devices` selected with `CPUAccelerator` should be an int > 0."),
        slow("--trainer.strategy foo", "trainer: You selected an invalid strategy name"),
        ("--ckpt_path a.pkl", "a.pkl is no readable checkpoint (it is a pickle)"),
        slow("--ckpt_path file", "file is no readable checkpoint (it is empty)"),
        ("--model.init_from ./whole", "whole holds no readable adapter_config.json: it is a whole model: name it as"),
        slow("--model.init_from ./blocked", "blocked holds no readable adapter_config.json: give a checkpoint"),
        slow("--best_checkpoint.monitor val/hit_ratio", "best_checkpoint.monitor is val/hit_ratio and no validation"),
        slow(
            "--trainer.callbacks+ lightning.pytorch.callbacks.EarlyStopping --trainer.callbacks.monitor mrr",
            "EarlyStopping.monitor is mrr and no validation logs it: did you mean val/mrr? name one of val/hit",
        ),
        slow("--model.optimizer torch.optim.SparseAdam", "model.optimizer SparseAdam: SparseAdam does not support"),
        slow("--model.optimizer.capturable true", "model.optimizer AdamW: If capturable=True"),
        slow("--model.optimizer.fused true --model.optimizer.foreach true", "model.optimizer: `fused` and `foreach`"),
        slow(
            "--model.optimizer.fused true --trainer.gradient_clip_val 1 --trainer.precision bf16-mixed",
            "model.optimizer AdamW is fused, and Lightning clips no gradients of such a one under bf16-mixed",
        ),
        slow("--wandb.mode offline --wandb.project a/b", "wandb.project is 'a/b', which W&B does"),
    ],
)  # fmt: skip
def test_the_command_line_says_it(
    option: str, line: str, place: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as caught:
        run("fit", "x", config(tiny_folder), *option.split())
    assert caught.value.code == 2
    told = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert len(told) == 1
    assert told[0].startswith(f"error: {line}")


@pytest.mark.slow
def test_dpo_takes_one_negative_of_several(place: Path, tiny_folder: Path, monkeypatch) -> None:
    """The remedy that the line names; and a whole run's folder to start from."""
    monkeypatch.chdir(place)
    settings = config(tiny_folder)
    settings["trainer"].update(max_steps=2, val_check_interval=2)
    run("fit", "first", settings, "--model.objective", "losses.DPO", "--data.num_negatives", "1")
    folder = run("fit", "second", settings, "--model.init_from", "outputs/tiny/first")
    assert (folder / "checkpoints/best.ckpt").is_file()
    start = supervised(tiny_folder)
    start["trainer"].update(max_steps=2, val_check_interval=2)
    run("fit", "third", start, "--model.init_from", "outputs/tiny/first/checkpoints")
