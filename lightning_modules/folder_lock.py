"""A lock on a run's folder: one command at a time writes into it."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn

from datamodules.errors import InputError, make_folder

_LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder until the block ends.

    The kernel releases the lock when the process ends, however it ends, so a file that a killed process left behind
    locks nothing. It is a POSIX record lock: it works over NFS, and a loader's worker, which is a fork, does not hold
    it. Where it ends, nothing is left of the lock, nor of folders that were made for it and stayed empty.

    Args:
        folder: A run's folder; made if it is not there.

    Raises:
        InputError: Another process holds it, or it cannot be made.
    """
    made = _make(folder)
    file = _acquired(folder)
    try:
        yield
    finally:
        if file is not None:
            (folder / _LOCK).unlink(missing_ok=True)
            file.close()
        with suppress(OSError):  # raised at the first one that is not empty
            for path in made:
                path.rmdir()


def is_first_process() -> bool:
    """Return whether this is global rank 0, before Lightning has set up the processes."""
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return rank_zero_only.rank == 0 and int(node) == 0


def _make(folder: Path) -> list[Path]:
    """Make a folder and return what was not there, innermost first."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    make_folder(folder, "name another for the run with --trainer.default_root_dir, or --outputs for all runs")
    return absent


def _acquired(folder: Path) -> IO[str] | None:
    """Take the lock; return None, and warn, where the file system has no locks or the folder cannot be written."""
    path = folder / _LOCK
    while True:
        try:
            file = path.open("a+")
            if not _take(file):
                raise _in_use(folder, file)
            # The holder before may have removed the file between the two calls.
            if path.is_file() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                break
        except OSError as error:
            rank_zero_warn(
                f"{folder} cannot be locked ({error.strerror}): do not run two commands in it at once"
            )
            return None
        file.close()
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def _take(file: IO[str]) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows both
        return False
    return True


def _in_use(folder: Path, file: IO[str]) -> InputError:
    file.seek(0)
    holder = file.read() or "another process"
    file.close()
    return InputError(
        f"{holder} is writing into {folder}: wait until it ends, end it, or name another folder with "
        "--trainer.default_root_dir"
    )
