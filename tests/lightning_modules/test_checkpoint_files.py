"""Checkpoints as files: whole, checked, two of them kept, and what happens when there is no room."""

import pickle
import resource
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from datamodules.errors import InputError
from lightning_modules.checkpoint_files import CheckpointFiles, is_whole, read_whole, write_whole
from tests.cli import config, run


def checkpoint(step: int) -> dict[str, Any]:
    return {"global_step": step, "state_dict": {"w": torch.arange(1000.0) + step}}


def test_what_was_written_is_read_and_others_can_read_it(tmp_path: Path) -> None:
    """The digest stands behind torch's archive, where `torch.load` and `zipfile` do not mind it."""
    path = tmp_path / "a.ckpt"
    write_whole(checkpoint(3), path)
    for read in (read_whole, lambda p: torch.load(p, weights_only=True), lambda p: torch.load(p, mmap=True)):
        found = read(path)
        assert found["global_step"] == 3
        assert torch.equal(found["state_dict"]["w"], torch.arange(1000.0) + 3)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.ckpt"
    write_whole(checkpoint(0), path)
    return path


@settings(max_examples=200, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_changed_bit_is_seen(written: Path, where: float, bit: int) -> None:
    changed = bytearray(written.read_bytes())
    changed[int(where * len(changed))] ^= 1 << bit
    path = written.with_name("changed.ckpt")
    path.write_bytes(changed)
    assert not is_whole(path)
    with pytest.raises(InputError, match="torn, or was changed"):
        read_whole(path)


@settings(max_examples=50, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_seen(written: Path, where: float) -> None:
    path = written.with_name("torn.ckpt")
    path.write_bytes(written.read_bytes()[: int(where * written.stat().st_size)])
    assert not is_whole(path)


class Payload:
    """Its unpickling writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("owned", "w")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is right, so that `weights_only` alone has to refuse; the environment cannot turn it off."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    write_whole({"state_dict": Payload()}, tmp_path / "evil.ckpt")
    for read in (read_whole, CheckpointFiles().load_checkpoint):
        with pytest.raises(InputError, match="no readable checkpoint"):
            read(tmp_path / "evil.ckpt")
    assert not (tmp_path / "owned").exists()


def test_the_one_before_is_kept_unless_it_is_torn(tmp_path: Path) -> None:
    files, last, previous = CheckpointFiles(), tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    files.save_checkpoint(checkpoint(1), last)
    assert not previous.exists()
    files.save_checkpoint(checkpoint(2), last)
    assert [read_whole(path)["global_step"] for path in (last, previous)] == [2, 1]
    last.write_bytes(last.read_bytes()[:-1])
    CheckpointFiles().save_checkpoint(checkpoint(3), last)  # a new process, which resumed from `previous`
    assert [read_whole(path)["global_step"] for path in (last, previous)] == [3, 1]


@pytest.fixture
def no_room() -> Iterator[None]:
    """No file may grow beyond 20,000 bytes: what a quota does, without a disk to fill."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_no_room_keeps_what_was_there_and_is_remembered(tmp_path: Path, no_room: None) -> None:
    files, last = CheckpointFiles(), tmp_path / "last.ckpt"
    files.save_checkpoint(checkpoint(1), last)
    large = {"state_dict": {"w": torch.zeros(100_000)}}
    with pytest.warns(UserWarning, match=r"last.ckpt cannot be written \(File too large\)"):
        files.save_checkpoint(large, last)
    assert isinstance(files.failure, OSError)
    assert read_whole(last)["global_step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_full_device_is_an_error_of_the_system(tmp_path: Path) -> None:
    """`/dev/full` answers every write with ENOSPC."""
    (tmp_path / "a.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        write_whole(checkpoint(1), tmp_path / "a.ckpt")
    assert not list(tmp_path.iterdir())


class NoRoom(pl.Callback):
    """Puts a full device where checkpoints are written first."""

    def __init__(self, until_step: int, from_step: int = 0) -> None:
        self._full = range(from_step, until_step)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        folder = Path(trainer.default_root_dir) / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("last.tmp", "best.tmp"):
            (folder / name).unlink(missing_ok=True)
            if trainer.global_step in self._full:
                (folder / name).symlink_to("/dev/full")


@pytest.mark.parametrize("on_write_error", ["warn", "stop"])
def test_a_run_without_room(
    tiny_folder: Path, tmp_path: Path, monkeypatch, capsys, on_write_error: str
) -> None:
    """Every checkpoint meets a full device until step 7: `warn` goes on and saves later, `stop` ends at the first."""
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    settings["last_checkpoint"]["on_write_error"] = on_write_error
    settings["trainer"]["callbacks"] = [
        {"class_path": "tests.lightning_modules.test_checkpoint_files.NoRoom", "init_args": {"until_step": 7}}
    ]
    if on_write_error == "warn":
        with pytest.warns(UserWarning, match="No space left on device"):
            folder = run("fit", "full", settings)
        # The validation after step 6 could not be kept, so that after step 12 is the best there is.
        for name in ("last", "best"):
            assert read_whole(folder / f"checkpoints/{name}.ckpt")["global_step"] == 12
        return
    with pytest.raises(SystemExit) as caught, pytest.warns(UserWarning, match="No space left on device"):
        run("fit", "full", settings)
    assert caught.value.code == 2
    line = capsys.readouterr().err
    assert "error: a checkpoint of step 3 cannot be written to outputs/tiny/full" in line
    assert "free some space there and start over" in line, "there is nothing to go on from"


@pytest.mark.parametrize(
    ("name", "write", "kind"),
    [
        ("empty.ckpt", lambda path: path.touch(), "it is empty"),
        ("text.ckpt", lambda path: path.write_text("hello"), "it is no file of torch.save"),
        ("a.pkl", lambda path: path.write_bytes(pickle.dumps({"a": 1})), "it is a pickle"),
        ("w.safetensors", lambda path: save_file({"w": torch.ones(2)}, path), "it is a safetensors file"),
        (
            "plain.ckpt",
            lambda path: torch.save({"pytorch-lightning_version": "2.6.6", "state_dict": {}}, path),
            "it was not written by train.py",
        ),
    ],
)
def test_a_file_of_another_program_is_named(
    name: str, write: Callable[[Path], None], kind: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name} is no readable checkpoint \({kind}.*\): give one that"):
        read_whole(tmp_path / name)
