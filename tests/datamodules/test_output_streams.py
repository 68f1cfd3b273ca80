"""What is printed when nobody reads it any more."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datamodules.output_streams import outlive_readers

ROOT = Path(__file__).parents[2]
# One prints to the process that started it, the other not at all.
EXEMPT = {"benchmarks/measure.py", "benchmarks/plot.py"}
COMMANDS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("benchmarks", "study", "datamodules", "lightning_modules")
    for path in (ROOT / folder).rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text() and str(path.relative_to(ROOT)) not in EXEMPT
)


def _reopened(descriptor: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(descriptor, "w")), encoding="utf-8", line_buffering=True
    )


def test_a_reader_that_is_gone_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other end of a pipe is closed between two lines, as when `tee` dies of the Ctrl-C that the run survives."""
    reader, writer = os.pipe()
    own = _reopened(writer)
    monkeypatch.setattr(sys, "stdout", own)
    monkeypatch.setattr(sys, "__stdout__", own)
    outlive_readers()
    print("Ünïcode")
    assert os.read(reader, 100) == "Ünïcode\n".encode()
    os.close(reader)
    print("nobody reads this")
    sys.stdout.flush()
    with pytest.raises(BrokenPipeError):
        own.write("the plain stream would have raised\n")


def test_a_closed_terminal_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, terminal = os.openpty()
    own = _reopened(terminal)
    monkeypatch.setattr(sys, "stderr", own)
    monkeypatch.setattr(sys, "__stderr__", own)
    outlive_readers()
    assert sys.stderr.isatty()
    os.close(screen)
    print("nobody sees this", file=sys.stderr)


def test_other_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log on a full disk."""
    own = _reopened(os.open("/dev/full", os.O_WRONLY))
    monkeypatch.setattr(sys, "stdout", own)
    monkeypatch.setattr(sys, "__stdout__", own)
    outlive_readers()
    with pytest.raises(OSError, match="No space left on device"):
        print("no room")


def test_streams_that_somebody_put_in_their_place_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    own = io.StringIO()
    monkeypatch.setattr(sys, "stdout", own)
    outlive_readers()
    assert sys.stdout is own


@pytest.mark.slow
def test_a_commands_reader_may_leave(tmp_path: Path) -> None:
    """The audit of a file into a pipe that nobody reads: no traceback, and the status is the audit's."""
    rows = [f"u{n % 6},i{n},{n},title {n}" for n in range(60)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp,title", *rows]))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "datamodules.audit", str(tmp_path / "log.csv")]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode in (0, 1), done.stderr) == (True, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_outlives_its_reader(command: str) -> None:
    """A call of `main` as a module is preceded by it."""
    text = (ROOT / command).read_text().partition('if __name__ == "__main__":\n')[2]
    assert text.strip().startswith("outlive_readers()")
