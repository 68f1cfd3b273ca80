"""Runs `train.py` again and again without importing everything again and again."""

import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing import connection
from pathlib import Path

import torch

# Importing takes seven seconds of processor time, a tenth of a short run: one process imports, every run is its fork.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["lightning_modules.cli"])


def run(command: Sequence[str], threads: int | None, log: Path | None) -> int:
    """Runs a Python script in the working directory, as `python SCRIPT ARGUMENTS…` would.

    Args:
        command: The script and its arguments.
        threads: Processor threads; None leaves them to torch.
        log: What its output is appended to; None leaves it on the terminal.

    Returns:
        The exit status; −N if signal N ended it.
    """
    process = _CONTEXT.Process(target=_main, args=(list(command), threads, log))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _main(command: list[str], threads: int | None, log: Path | None) -> None:
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of processes that this one starts
        torch.set_num_threads(threads)
    if log is not None:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    _end_with_parent()
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


def _end_with_parent() -> None:
    """Has this process save and leave when the one that wants its result is gone, however that one ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
