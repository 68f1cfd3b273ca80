"""Which examples a rank sees, as a pure function of (seed, epoch, rank, batches already consumed)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from datamodules.draws import Stream, random_bits

# Rows of so many global batches are sorted by length together: enough that a batch has hardly any padding, and few
# enough that an epoch's batches are still random draws.
_BATCHES_PER_POOL = 64


class TrainingSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, row): the epoch travels with the row, since a worker's copy of the data knows no epoch.

    One permutation is drawn per epoch for all ranks. It is cut into pools of 64 global batches; in a pool, rows are
    sorted by length, so that a batch has hardly any padding, and its batches come in random order. A global batch
    has the rows of an optimiser step, `accumulated * world_size * batch_size`, of which each rank takes its part. So
    a step sees the same rows whatever the number of ranks, as long as that product is the same. The last incomplete
    global batch is dropped: every step is a mean over equally many rows.

    Args:
        lengths: Tokens of every row, shape [N].
        batch_size: Rows per batch on this rank.
        seed: Decides every permutation.
        rank: This process.
        world_size: All processes.
        start_epoch: The epoch in which `consumed` counts.
        consumed: Batches of that epoch that were trained on already.
        accumulated: Batches of a rank that make a step.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_epoch: int = 0,
        consumed: int = 0,
        accumulated: int = 1,
    ) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._start = (start_epoch, consumed)
        self._accumulated = accumulated
        self._epoch = start_epoch

    @property
    def num_batches(self) -> int:
        """Batches of this rank in a whole epoch."""
        return self._num_steps * self._accumulated

    @property
    def _step_size(self) -> int:
        return self._accumulated * self._world_size * self._batch_size

    @property
    def _num_steps(self) -> int:
        return len(self._lengths) // self._step_size

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        # The whole epoch, also after a resume: Lightning goes on counting batches where it stopped.
        return self.num_batches * self._batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        start_epoch, consumed = self._start
        skip = consumed if self._epoch == start_epoch else 0
        own = self.rows_of(self._epoch)[skip:].ravel()
        return ((self._epoch, row) for row in own.tolist())

    def rows_ahead(self, batches: int, per_epoch: int) -> NDArray[np.int64]:
        """List this rank's rows of the next batches, each once, in order; shape [N].

        Args:
            batches: Batches from where training starts.
            per_epoch: Batches of an epoch that are trained on.
        """
        seen = np.zeros(len(self._lengths), dtype=bool)
        epoch, first = self._start
        end = first + batches  # counted from the beginning of `epoch`
        while first < end and not seen.all():
            seen[self.rows_of(epoch)[first : min(end, per_epoch)]] = True
            epoch, first, end = epoch + 1, 0, end - per_epoch
        return np.flatnonzero(seen)

    def rows_of(self, epoch: int) -> NDArray[np.int64]:
        """Lists this rank's rows of a whole epoch, shape [num_batches, batch_size]."""
        keys = random_bits(self._seed, Stream.EPOCH_ORDER, np.arange(len(self._lengths)), 1, epoch)[:, 0]
        order = np.argsort(keys, kind="stable")[: self._num_steps * self._step_size]
        pool = np.arange(self._num_steps) // _BATCHES_PER_POOL
        order = order[np.lexsort((self._lengths[order], np.repeat(pool, self._step_size)))]
        shuffle = random_bits(self._seed, Stream.BATCH_ORDER, np.arange(self._num_steps), 1, epoch)[:, 0]
        steps = order.reshape(self._num_steps, self._accumulated, self._world_size, self._batch_size)
        return steps[np.lexsort((shuffle, pool))][:, :, self._rank].reshape(-1, self._batch_size)


class EvaluationSampler(Sampler[tuple[int, int]]):
    """Every row exactly once over all ranks: strided, never padded with repeated rows; similar lengths together.

    Args:
        lengths: Tokens of every row, shape [N].
        rank: This process.
        world_size: All processes.
    """

    def __init__(self, lengths: NDArray[np.int64], rank: int = 0, world_size: int = 1) -> None:
        self._rows = np.argsort(lengths, kind="stable")[rank::world_size].tolist()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((0, row) for row in self._rows)


class EqualWidthBatches(Sampler[list[tuple[int, int]]]):
    """Every row exactly once over all ranks, in batches of rows with equally many responses.

    So no column of an evaluation batch is without a response, and nobody has to mask one.

    Args:
        widths: Responses of every row, shape [N].
        batch_size: Most rows of a batch.
        rank: This process.
        world_size: All processes.
    """

    def __init__(
        self, widths: NDArray[np.int64], batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        by_width = np.argsort(widths, kind="stable")[rank::world_size]
        runs = np.split(by_width, np.flatnonzero(np.diff(widths[by_width])) + 1)
        self._batches = [
            run[start : start + batch_size] for run in runs for start in range(0, len(run), batch_size)
        ]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(0, row) for row in batch.tolist()] for batch in self._batches)
