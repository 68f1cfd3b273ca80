"""A polite request to stop, which all processes of a run hear at the same step."""

import signal
from types import FrameType

import lightning.pytorch as pl
import torch

# What a shell reports for a process that SIGTERM ended.
TERMINATED = 128 + signal.SIGTERM


class StopRequest:
    """Notes SIGTERM, and SIGUSR1 with which SLURM announces the end of a job's time.

    Lightning's own handlers talk to the other processes from inside the signal, wherever each of them is, and leave
    with status 0. Here a signal is only noted, and the processes compare notes where a step ends.
    """

    def __init__(self) -> None:
        self._asked = False

    def listen(self) -> None:
        """Takes the signals over; Lightning gives them back when training ends."""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def heard(self, trainer: pl.Trainer) -> bool:
        """Whether any process was asked; all processes must call it at the same point."""
        if trainer.world_size == 1:
            return self._asked
        asked = torch.tensor(int(self._asked), device=trainer.strategy.root_device)
        return bool(trainer.strategy.reduce(asked, reduce_op="max").item())


def leave(trainer: pl.Trainer) -> None:
    """Ends the process with the status of a terminated one.

    Raises:
        SystemExit: Always. The first process's status is the run's; the others leave with 0, since Lightning's
            launcher kills the first one when another fails.
    """
    raise SystemExit(TERMINATED if trainer.is_global_zero else 0)
