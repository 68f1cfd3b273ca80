import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.draws import _GOLDEN, Stream, mix, random_bits, uniforms


def test_mix_reproduces_splitmix64() -> None:
    """The first outputs of SplitMix64 seeded with 1234567 are published (Rosetta Code, `Pseudo-random numbers`)."""
    with np.errstate(over="ignore"):
        state = np.uint64(1234567) + _GOLDEN * np.arange(1, 4, dtype=np.uint64)
        assert mix(state).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@settings(deadline=None)
@given(seed=st.integers(-(2**40), 2**40), epoch=st.integers(0, 1000))
def test_a_row_depends_on_its_own_id_alone(seed: int, epoch: int) -> None:
    ids = np.array([5, 17, 99])
    together = random_bits(seed, Stream.CANDIDATES, ids, 4, epoch)
    for row, example in enumerate(ids):
        alone = random_bits(seed, Stream.CANDIDATES, np.array([example]), 9, epoch)
        assert (alone[0, :4] == together[row]).all()


def test_seed_stream_and_epoch_each_change_the_draws() -> None:
    ids = np.arange(1000)
    base = uniforms(0, Stream.SELECTION, ids, 1)[:, 0]
    others = [
        uniforms(1, Stream.SELECTION, ids, 1)[:, 0],
        uniforms(0, Stream.TEMPLATE, ids, 1)[:, 0],
        uniforms(0, Stream.SELECTION, ids, 1, epoch=1)[:, 0],
    ]
    for other in others:
        # The standard error of a correlation of 1,000 independent pairs is 0.032.
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.13


def test_uniforms_are_uniform() -> None:
    """Kolmogorov's statistic of n uniforms exceeds 1.95 / sqrt(n) once in a thousand seeds; the seed is fixed."""
    values = np.sort(uniforms(3, Stream.SELECTION, np.arange(500), 20).ravel())
    n = len(values)
    distance = np.abs(values - (np.arange(n) + 0.5) / n).max() + 0.5 / n
    assert distance < 1.95 / np.sqrt(n)
    assert values[0] >= 0
    assert values[-1] < 1
