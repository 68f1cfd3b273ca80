"""Requests to stop: answered at the end of a step in training, at once everywhere else."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

# What a shell reports for a process that SIGTERM ended.
TERMINATED = 128 + signal.SIGTERM

# Ctrl-C, a closed terminal, a scheduler's request, and SLURM's announcement that a job's time ends.
_STATUS = {
    signal.SIGINT: 128 + signal.SIGINT,
    signal.SIGHUP: 128 + signal.SIGHUP,
    signal.SIGTERM: TERMINATED,
    signal.SIGUSR1: TERMINATED,
}


class StopRequest:
    """Notes a request to stop, which all processes of a run answer at the same step.

    Lightning's own handlers talk to the other processes from inside the signal, wherever each of them is, and leave
    with status 0. Here a signal is only noted, and the processes compare notes where a step ends.
    """

    def __init__(self) -> None:
        self._status = 0
        self._interrupted = False

    def listen(self) -> None:
        """Takes the signals over; Lightning gives them back when training ends."""
        for number in _listened():
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            _leave_at_once(number, frame)
        self._status = max(self._status, _STATUS[signal.Signals(number)])
        if number == signal.SIGINT:
            self._interrupted = True
            _tell(b"\nending after this step; a second Ctrl-C leaves at once and saves nothing\n")

    def heard(self, trainer: pl.Trainer) -> int:
        """Returns the status to leave with, the highest of all processes; 0 where none was asked.

        All processes must call it at the same point.
        """
        if trainer.world_size == 1:
            return self._status
        status = torch.tensor(self._status, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(status, reduce_op="max").item())


def leave(trainer: pl.Trainer, status: int) -> None:
    """Ends the process.

    Raises:
        SystemExit: Always. The first process's status is the run's; the others leave with 0, since Lightning's
            launcher kills the first one when another fails.
    """
    raise SystemExit(status if trainer.is_global_zero else 0)


@contextmanager
def leaving_when_asked() -> Iterator[None]:
    """Makes a signal end the process with its status and without a traceback, where no step has to be finished first.

    Lightning would answer Ctrl-C with status 1, and Python any other signal with none of what has to be closed. What
    was started with a signal ignored (`nohup`, a job in the background) goes on ignoring it.
    """

    def leave_now(number: int, frame: FrameType | None) -> None:
        for other in previous:
            signal.signal(other, _leave_at_once)
        raise SystemExit(_STATUS[signal.Signals(number)] if rank_zero_only.rank == 0 else 0)

    previous = {number: signal.signal(number, leave_now) for number in _listened()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _listened() -> list[signal.Signals]:
    return [number for number in _STATUS if signal.getsignal(number) is not signal.SIG_IGN]


def _leave_at_once(number: int, frame: FrameType | None) -> None:
    """Closes nothing: whoever asks a second time does not want to wait."""
    os._exit(_STATUS[signal.Signals(number)])


def _tell(message: bytes) -> None:
    """Writes past Python's buffers, which a handler may have interrupted."""
    if rank_zero_only.rank == 0:
        with suppress(OSError):  # nobody reads it
            os.write(2, message)
