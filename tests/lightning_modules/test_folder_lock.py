"""One command at a time in a run's folder."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from datamodules.errors import InputError
from lightning_modules.folder_lock import is_first_process, locked
from tests.cli import config, run

# Another process with nothing of ours: it locks the file as POSIX has it, notes its name, and waits to be killed.
_HOLDER = """
import fcntl, sys
file = open("run/.lock", "a+")
fcntl.lockf(file, fcntl.LOCK_EX)
file.write("process 7 on elsewhere")
file.flush()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_in_use_is_refused_and_named_and_one_left_by_a_killed_process_is_not(
    holder: subprocess.Popen[str], tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file that the killed process leaves behind locks nothing, and is gone after the next command."""
    with pytest.raises(SystemExit) as caught:
        run("fit", "locked", config(tiny_folder), "--trainer.default_root_dir", "run")
    assert caught.value.code == 2
    line = "error: process 7 on elsewhere is writing into run: wait until it ends, end it, or name another folder with"
    assert line in capsys.readouterr().err
    assert [path.name for path in Path("run").iterdir()] == [".lock"]
    holder.kill()
    holder.wait()
    assert Path("run/.lock").is_file()
    with locked(Path("run")):
        assert Path("run/.lock").read_text().startswith("process ")
    assert not list(Path("run").iterdir())


def test_what_was_made_for_the_lock_alone_is_gone_when_it_ends(tmp_path: Path) -> None:
    with locked(tmp_path / "a/b"):
        assert (tmp_path / "a/b/.lock").is_file()
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a/b"):
        (tmp_path / "a/b/kept").touch()
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["kept"]


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="file/run cannot be made .Not a directory.: name another"),
        locked(tmp_path / "file/run"),
    ):
        pass


@pytest.mark.parametrize(
    ("rank", "environment", "is_first"),
    [(0, {}, True), (1, {}, False), (0, {"NODE_RANK": "1"}, False), (0, {"GROUP_RANK": "0"}, True)],
)
def test_the_first_process_of_all_holds_the_lock(
    rank: int, environment: dict[str, str], is_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's launcher on a second machine sets no rank before the trainer is there, but `NODE_RANK`."""
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == is_first
