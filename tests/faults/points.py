"""Where a run is hit: faults without a sleep and without a hook in the product."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

# The environment variable that names the process of a run's terminal.
TERMINAL = "FAULTS_TERMINAL"


def hit(number: int) -> None:
    """Sends a signal to this very process; SIGKILL does not return.

    SIGKILL takes the children with it: W&B's writer is such a child, which would outlive the training, but not the
    machine. SIGHUP comes from the terminal, which is closed, see `runs.Runner.fit`. Any other signal goes to the
    process group, as torchrun and `timeout` send it: to the loaders' workers too.
    Another process sends it, since a worker takes a SIGTERM from its parent for leave to end.
    """
    if number == signal.SIGKILL:
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text().split():
                os.kill(int(child), signal.SIGKILL)
        os.kill(os.getpid(), number)
    if number == signal.SIGHUP:
        terminal = int(os.environ[TERMINAL])
        os.kill(terminal, signal.SIGKILL)
        os.waitpid(terminal, 0)  # then it is closed
        return
    send = f"import os; os.killpg({os.getpgrp()}, {number})"
    subprocess.run([sys.executable, "-I", "-S", "-c", send], start_new_session=True, check=True)


class Fault:
    """Something that happens to a run once its training begins."""

    def arm(self) -> None:
        """Called when training starts."""

    def reached(self, event: str) -> None:
        """Called at every named point of training."""


class AtPoint(Fault):
    """A signal when a named point is reached for the n-th time, or several there; `Recorder` names the points."""

    def __init__(self, event: str, count: int, number: int = int(signal.SIGKILL), times: int = 1) -> None:
        self._event, self._left, self._number, self._times = event, count, number, times

    def reached(self, event: str) -> None:
        if event == self._event:
            self._left -= 1
            if self._left == 0:
                for _ in range(self._times):
                    hit(self._number)


class AtCall(Fault):
    """A signal at the n-th call of a Python function since training began: any moment there is, and always the same.

    Args:
        count: n; 0 only counts.
        number: The signal.
    """

    def __init__(self, count: int = 0, number: int = int(signal.SIGKILL)) -> None:
        self.count = count
        self.calls = 0
        self._number = number

    def arm(self) -> None:
        owner = os.getpid()

        def profile(frame: FrameType, event: str, argument: Any) -> None:
            if event == "call":
                self.calls += 1
                if self.calls == self.count:
                    sys.setprofile(None)
                    if os.getpid() == owner:  # a loader's worker is a fork and counts on
                        hit(self._number)

        sys.setprofile(profile)


class InWrite(Fault):
    """The kernel ends the process in the middle of the n-th file that is written aside, at a given byte."""

    def __init__(self, count: int, at_byte: int) -> None:
        self._left, self._at_byte = count, at_byte

    def arm(self) -> None:
        _audit("open", self._opened)

    def _opened(self, path: object, mode: object, flags: int) -> None:
        if str(path).endswith(".tmp") and "checkpoints" in str(path) and flags & os.O_WRONLY:
            self._left -= 1
            if self._left == 0:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (self._at_byte, resource.RLIM_INFINITY))


class BeforeRename(Fault):
    """A kill right before the n-th checkpoint file is renamed."""

    def __init__(self, count: int) -> None:
        self._left = count

    def arm(self) -> None:
        _audit("os.rename", self._renamed)

    def _renamed(self, source: object, target: object, *_: object) -> None:
        if str(target).endswith(".ckpt"):
            self._left -= 1
            if self._left == 0:
                hit(signal.SIGKILL)


class InMove(Fault):
    """A kill right before the n-th rename that moves an earlier run aside."""

    def __init__(self, count: int) -> None:
        self._left = count

    def arm(self) -> None:
        _audit("os.rename", self._renamed)

    def _renamed(self, source: object, target: object, *_: object) -> None:
        if "/earlier/" in str(target):
            self._left -= 1
            if self._left == 0:
                hit(signal.SIGKILL)


class AnotherFit(Fault):
    """Starts a second fit in the same folder when the n-th step has ended, and keeps its status and what it said."""

    def __init__(self, count: int, folder: str) -> None:
        self._left, self._folder = count, Path(folder)

    def reached(self, event: str) -> None:
        if event == "step":
            self._left -= 1
            if self._left == 0:
                train = str(Path(__file__).parents[2] / "train.py")
                command = [sys.executable, train, "fit", "--config", str(self._folder / "run.yaml")]
                command += ["--trainer.default_root_dir", str(self._folder)]
                ranks = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "MASTER_", "TORCHELASTIC")
                alone = {name: value for name, value in os.environ.items() if not name.startswith(ranks)}
                done = subprocess.run(command, env=alone, capture_output=True, text=True)
                (self._folder / "second.txt").write_text(f"{done.returncode}\n{done.stderr}")


def _audit(event: str, react: Callable[..., None]) -> None:
    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name == event:
            react(*arguments)

    sys.addaudithook(hook)


class ServerDies(Fault):
    """Kills another process when the n-th step has ended."""

    def __init__(self, pid: int, count: int) -> None:
        self._pid, self._left = pid, count

    def reached(self, event: str) -> None:
        if event == "step":
            self._left -= 1
            if self._left == 0:
                os.kill(self._pid, signal.SIGKILL)


class HostDies(Fault):
    """Kills torchrun, whose child this process is, and then the process, at the n-th backward pass."""

    def __init__(self, count: int) -> None:
        self._left = count

    def reached(self, event: str) -> None:
        if event == "backward":
            self._left -= 1
            if self._left == 0:
                os.kill(os.getppid(), signal.SIGKILL)
                hit(signal.SIGKILL)


class LinkDown(Fault):
    """Takes this host's network interface down at the n-th backward pass, and says so in a file."""

    def __init__(self, count: int, interface: str, file: str) -> None:
        self._left, self._interface, self._file = count, interface, Path(file)

    def reached(self, event: str) -> None:
        if event == "backward":
            self._left -= 1
            if self._left == 0:
                subprocess.run(["ip", "link", "set", self._interface, "down"], check=True)
                self._file.touch()
