"""Two hosts on one machine: network namespaces, each with an address of its own, joined by a cable."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
INTERFACE = "cable"
_ADDRESSES = ("10.77.0.1", "10.77.0.2")


class NoNamespaces(Exception):
    """This machine cannot make network namespaces; the reason."""


@dataclass(frozen=True)
class Hosts:
    """Both hosts; they share the disk.

    Attributes:
        names: Of the namespaces.
    """

    names: tuple[str, str]

    def start(self, folder: Path, *args: str) -> list[subprocess.Popen[str]]:
        """Calls `configs/launch/torchrun.sh` on both; what they say goes to `host-0.txt` and `host-1.txt`.

        Args:
            folder: The run's.
            args: train.py's.
        """
        folder.mkdir(exist_ok=True)
        started = []
        for node, name in enumerate(self.names):
            environment = {
                **os.environ,
                **{"HEAD": _ADDRESSES[0], "NODES": "2", "NODE": str(node), "DEVICES": "1"},
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "GLOO_SOCKET_IFNAME": INTERFACE,
            }
            command = ["ip", "netns", "exec", name, "configs/launch/torchrun.sh", str(folder), *args]
            with (folder / f"host-{node}.txt").open("w") as output:
                started.append(
                    subprocess.Popen(
                        command, cwd=ROOT, env=environment, stdout=output, stderr=output, text=True
                    )
                )
        return started

    def mend_the_cable(self) -> None:
        """Brings both ends up; an end keeps its address while it is down."""
        for name in self.names:
            _ip("-n", name, "link", "set", INTERFACE, "up")

    def kill(self) -> None:
        """Ends everything that runs on them."""
        for name in self.names:
            for pid in _ip("netns", "pids", name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Makes the hosts, and takes them away with all that runs on them.

    Raises:
        NoNamespaces: They cannot be made: no Linux, not root, or no iproute2.
    """
    names = (f"dynamicpo-{os.getpid()}-0", f"dynamicpo-{os.getpid()}-1")
    hosts = Hosts(names)
    made = []
    try:
        try:
            for name in names:
                _ip("netns", "add", name)
                made.append(name)
            _ip("link", "add", INTERFACE, "netns", names[0], "type", "veth",
                "peer", "name", INTERFACE, "netns", names[1])  # fmt: skip
            for name, address in zip(names, _ADDRESSES, strict=True):
                _ip("-n", name, "address", "add", f"{address}/24", "dev", INTERFACE)
                _ip("-n", name, "link", "set", "lo", "up")
            hosts.mend_the_cable()
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoNamespaces(getattr(error, "stderr", "").strip() or str(error)) from error
        yield hosts
    finally:
        if len(made) == len(names):
            hosts.kill()
        for name in made:
            _ip("netns", "delete", name)


def _ip(*args: str) -> str:
    return subprocess.run(["ip", *args], check=True, capture_output=True, text=True).stdout


def wait_for(path: Path, running: subprocess.Popen[str], seconds: float) -> None:
    """Waits until a file is there.

    Raises:
        AssertionError: The process ended before, or it took longer.
    """
    deadline = time.monotonic() + seconds
    while not path.exists():
        if running.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"there is no {path}")
        time.sleep(0.05)  # only how often is looked; nothing depends on it
