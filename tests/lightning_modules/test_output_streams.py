"""What is printed when nobody reads it any more."""

import io
import os
import sys

import pytest

from lightning_modules.output_streams import outlive_readers


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
