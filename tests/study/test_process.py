"""Runs in processes of their own, with scripts in place of training."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_RUN = "from study import process; process.run(['long.py'], 1, None)"
# Says that it has begun, waits, and says how it ended, to whoever reads the pipe.
_LONG = """
import os, signal, sys
pipe = open("pipe", "w", buffering=1)
def end(*_):
    pipe.write("saved\\n")
    os._exit(143)
signal.signal(signal.SIGTERM, end)
pipe.write("begun\\n")
while True:
    signal.pause()
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("long.py").write_text(_LONG)
    os.mkfifo("pipe")


def begin() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _RUN], env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_saves_and_leaves_when_the_study_is_gone(number: signal.Signals) -> None:
    study = begin()
    with Path("pipe").open() as pipe:
        assert pipe.readline() == "begun\n"
        study.send_signal(number)
        assert pipe.readline() == "saved\n"
        assert pipe.read() == "", "the run is gone"
    assert study.wait() == -number
