"""Python programs, each in a process forked from one that has imported everything.

Importing takes longer than a small run; and a process that has trained must not fork, so this is one of its own, which
lives as long as the tests do: `python -m tests.forked` reads a program a line and answers with its exit status.
"""

import atexit
import functools
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def _environment() -> dict[str, str]:
    """Return that of the tests, without the W&B service of this process: a run waits for a service of its own alone."""
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    return {**own, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@functools.cache
def _server() -> "subprocess.Popen[str]":
    environment = _environment()  # OpenMP takes its number of threads once, as torch is imported
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-m", "tests.forked"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)


def run_python(
    *command: str, cwd: Path = ROOT, timeout: float = 300, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a program as `python COMMAND` does, but for the time to import it.

    Args:
        command: A script or `-m` and a module, then its arguments.
        cwd: The folder to run it in.
        timeout: Seconds after which it has hung.
        environment: Added to that of the tests.
    """
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        request = {
            "command": command,
            "cwd": str(cwd),
            "environment": {**_environment(), **environment},
            "streams": [f"{folder}/out", f"{folder}/err"],
        }
        print(json.dumps(request), file=server.stdin, flush=True)
        if not select.select([server.stdout], [], [], timeout)[0]:
            server.kill()  # the program dies with it
            _server.cache_clear()
            raise subprocess.TimeoutExpired(command, timeout)
        status = int(server.stdout.readline())
        out, err = (Path(path).read_text(errors="replace") for path in request["streams"])
    return subprocess.CompletedProcess(command, status, out, err)


def _become(request: dict[str, Any]) -> None:
    """Take the folder, the environment and the streams of a program, and a session: faults signal a process group."""
    os.setsid()
    os.chdir(request["cwd"])
    environment: Mapping[str, str] = request["environment"]
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(request["streams"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)


def _run(command: list[str]) -> None:
    """Run it; what it raises ends this process as it ends Python."""
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


def main() -> None:
    """Answer programs until the tests end."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import may print is no answer
    from wandb.sdk.data_types._private import MEDIA_TMP

    from tests.faults.runs import die_with_the_parent  # imports all that a run does

    die_with_the_parent()
    # W&B's folder for media belongs to all programs: the first one that ended would remove it.
    atexit.unregister(MEDIA_TMP.cleanup)
    MEDIA_TMP._finalizer.detach()  # type: ignore[attr-defined]
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            die_with_the_parent()
            _become(request)
            _run(request["command"])
            return
        _, raw = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(raw), file=answers, flush=True)
    MEDIA_TMP.cleanup()


if __name__ == "__main__":
    main()
