"""Random numbers as a pure function of (seed, purpose, example id, epoch).

A stateful generator cannot be resumed in the middle of an epoch, and forked workers share its state. A
counter-based one has no state: the same keys give the same numbers in any process, order or batch size.
The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Stream(IntEnum):
    """What a number is drawn for; streams with different purposes are independent."""

    TIE_ORDER = 1
    CANDIDATES = 2
    CANDIDATE_ORDER = 3
    TEMPLATE = 4
    EPOCH_ORDER = 5
    NEGATIVE_SUBSET = 6
    SELECTION = 7
    EVALUATION_SAMPLE = 8
    HELD_OUT = 9
    BATCH_ORDER = 10


def mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Applies SplitMix64's finaliser to every element."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def random_bits(
    seed: int, stream: Stream, ids: NDArray[np.int64], count: int, epoch: int = 0
) -> NDArray[np.uint64]:
    """Draws `count` independent 64-bit words for every id.

    Args:
        seed: Any integer.
        stream: The purpose of the draw.
        ids: Example (or row) ids, shape [N].
        count: Words per id.
        epoch: For draws that are fresh in every epoch.

    Returns:
        Words, shape [N, count].
    """
    with np.errstate(over="ignore"):
        state = np.full(1, seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
        for key in (np.uint64(int(stream)), np.uint64(epoch)):
            state = mix(state + _GOLDEN * (key + np.uint64(1)))
        rows = mix(state + _GOLDEN * (np.asarray(ids).astype(np.uint64) + np.uint64(1)))
        counters = _GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
        return mix(rows[:, None] + counters[None, :])


def uniforms(
    seed: int, stream: Stream, ids: NDArray[np.int64], count: int, epoch: int = 0
) -> NDArray[np.float64]:
    """Draws `count` uniforms in [0, 1) for every id; arguments as in `random_bits`, shape [N, count]."""
    bits = random_bits(seed, stream, ids, count, epoch) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53
