"""Runs of the real command line, each in processes of its own that a signal can end.

Importing torch and Lightning costs seconds, so this process imports once and forks. Two ranks are told so in the
environment, as torchrun does it.
"""

import contextlib
import ctypes
import faulthandler
import fcntl
import os
import signal
import socket
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
import yaml
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lightning_modules.cli import main
from tests.faults.points import TERMINAL

# How often a second the processes are looked at.
_LOOKS = 50


@dataclass
class Ended:
    """How the processes of a run ended.

    Attributes:
        statuses: Exit status per rank, negative for a signal.
        seconds: From the first end to the last.
        output: What rank 0 printed.
    """

    statuses: list[int]
    seconds: float
    output: str


@dataclass
class Runner:
    """Starts runs in a folder.

    Attributes:
        folder: Where the runs' folders go.
        processes: Ranks.
        environment: Added to the processes'.
    """

    folder: Path
    processes: int = 1
    environment: dict[str, str] = field(default_factory=dict)

    def fit(
        self,
        name: str,
        settings: dict[str, Any],
        *args: str,
        alone: bool = True,
        subcommand: str = "fit",
        terminal: bool = False,
    ) -> Ended:
        """Runs `fit` with output folder `FOLDER/NAME`.

        Args:
            name: The run's folder.
            settings: The config.
            args: More arguments.
            alone: Whether a machine dies whole: when one rank does, so do the others at once.
            subcommand: Or something else.
            terminal: Whether every rank prints to a terminal of its own, which a fault can close; what it showed is the
                output.
        """
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.yaml").write_text(yaml.safe_dump(settings))
        command = [
            subcommand,
            "--config",
            str(folder / "run.yaml"),
            "--trainer.default_root_dir",
            str(folder),
        ]
        command += ["--trainer.devices", str(self.processes)]
        command += ["--trainer.strategy", "ddp" if self.processes > 1 else "auto", *args]
        port = free_port()
        pids = [
            fork(lambda rank=rank: self._child(command, folder, rank, port, terminal))
            for rank in range(self.processes)
        ]
        ended = wait(pids, alone)
        ended.output = (folder / "output-0.txt").read_text(errors="replace")
        return ended

    def _child(self, command: list[str], folder: Path, rank: int, port: int, terminal: bool) -> None:
        os.chdir(folder)
        output = os.open(f"output-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if terminal:
            output = _terminal(output)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # A suite in the background, or under nohup, ignores them.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        faulthandler.enable()  # SIGABRT prints where every thread is
        os.environ.update(self.environment)
        if self.processes > 1:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                GROUP_RANK="0",
                WORLD_SIZE=str(self.processes),
                LOCAL_WORLD_SIZE=str(self.processes),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
                TORCHELASTIC_RUN_ID="faults",
            )
        rank_zero_only.rank = rank
        try:
            main(command)
        finally:
            wandb.teardown()  # what W&B does itself where a process ends in the usual way


def fork(body: Callable[[], None]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        die_with_the_parent()
        body()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _terminal(output: int) -> int:
    """Opens a terminal for this process, which leads a session; another process shows it and closes it when it ends.

    Args:
        output: File descriptor that gets what is printed.

    Returns:
        The terminal's own.
    """
    screen, terminal = os.openpty()
    pid = os.fork()
    if pid == 0:
        os.close(terminal)
        die_with_the_parent()
        with contextlib.suppress(OSError):  # the run has ended
            while text := os.read(screen, 1 << 16):
                os.write(output, text)
        os._exit(0)
    os.environ[TERMINAL] = str(pid)
    os.close(screen)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    return terminal


def die_with_the_parent() -> None:
    """A suite that is stopped leaves nothing behind; Linux alone has this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def wait(pids: list[int], alone: bool) -> Ended:
    """Waits for all; what takes half an hour, or ten minutes after another has ended, has hung and must say where.

    Time is counted in looks: a machine that is put to sleep has not hung. One that others use hard has not either: a
    run of a few seconds can take minutes there.
    """
    left = dict(enumerate(pids))
    statuses = [0] * len(pids)
    looks = looks_at_first = 0
    while left:
        for rank, pid in list(left.items()):
            found, raw = os.waitpid(pid, os.WNOHANG)
            if found:
                statuses[rank] = os.waitstatus_to_exitcode(raw)
                del left[rank]
                looks_at_first = looks_at_first or looks
                _end_group(pid)
                if alone and statuses[rank] < 0:
                    for other in left.values():
                        _end_group(other)
        if looks > 1800 * _LOOKS or (looks_at_first and looks - looks_at_first > 600 * _LOOKS):
            for other in left.values():
                _end_group(other, signal.SIGABRT)
        looks += 1
        time.sleep(1 / _LOOKS)  # only how often is looked; nothing depends on it
    return Ended(statuses, (looks - looks_at_first) / _LOOKS, "")


def _end_group(pid: int, number: int = signal.SIGKILL) -> None:
    """Ends a process and its loaders' workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
