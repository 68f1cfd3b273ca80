import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.sampler import EvaluationSampler, TrainingSampler


def rows_of(sampler: TrainingSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert {e for e, _ in keys} <= {epoch}
    return [row for _, row in keys]


@settings(deadline=None, max_examples=50)
@given(num_rows=st.integers(12, 80), batch=st.integers(1, 3), epoch=st.integers(0, 3))
def test_ranks_share_each_global_batch_of_one_process(num_rows: int, batch: int, epoch: int) -> None:
    whole = rows_of(TrainingSampler(np.arange(num_rows) % 7, batch * 2, seed=5), epoch)
    first, second = (
        rows_of(TrainingSampler(np.arange(num_rows) % 7, batch, 5, rank, 2), epoch) for rank in range(2)
    )
    assert len(set(whole)) == len(whole) == num_rows // (2 * batch) * 2 * batch
    for start in range(0, len(first), batch):
        both = first[start : start + batch] + second[start : start + batch]
        assert both == whole[2 * start : 2 * start + 2 * batch]


@settings(deadline=None, max_examples=50)
@given(num_rows=st.integers(12, 80), batch=st.integers(1, 2), epoch=st.integers(0, 3))
def test_a_step_sees_the_same_rows_however_it_is_split(num_rows: int, batch: int, epoch: int) -> None:
    lengths = np.arange(num_rows) % 7
    whole = TrainingSampler(lengths, batch * 6, seed=5).rows_of(epoch)
    for ranks, accumulated in ((2, 3), (3, 2), (1, 6), (6, 1)):
        of_rank = [
            TrainingSampler(lengths, batch, 5, rank, ranks, accumulated=accumulated).rows_of(epoch)
            for rank in range(ranks)
        ]
        steps = np.concatenate([rows.reshape(-1, accumulated * batch) for rows in of_rank], axis=1)
        assert np.array_equal(np.sort(steps, axis=1), np.sort(whole, axis=1))


def test_an_epoch_has_whole_steps_alone() -> None:
    sampler = TrainingSampler(np.zeros(60, dtype=np.int64), 4, seed=0, accumulated=8)
    assert sampler.num_batches == 8
    assert len(sampler) == len(rows_of(sampler, 0)) == 32


@settings(deadline=None, max_examples=50)
@given(consumed=st.integers(0, 10), rank=st.integers(0, 1))
def test_a_resumed_epoch_goes_on_and_the_next_one_is_whole(consumed: int, rank: int) -> None:
    uninterrupted = TrainingSampler(np.arange(44) % 5, 2, 1, rank, 2)
    resumed = TrainingSampler(np.arange(44) % 5, 2, 1, rank, 2, start_epoch=3, consumed=consumed)
    assert rows_of(resumed, 3) == rows_of(uninterrupted, 3)[2 * consumed :]
    assert rows_of(resumed, 4) == rows_of(uninterrupted, 4)
    assert len(resumed) == len(uninterrupted) == 22


def test_epochs_differ_in_order() -> None:
    sampler = TrainingSampler(np.zeros(50, dtype=np.int64), 5, seed=0)
    assert rows_of(sampler, 0) != rows_of(sampler, 1)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_sees_every_row_once(world_size: int) -> None:
    samplers = [EvaluationSampler(np.arange(10)[::-1], rank, world_size) for rank in range(world_size)]
    rows = [row for sampler in samplers for _, row in sampler]
    assert sorted(rows) == list(range(10))
    assert sum(map(len, samplers)) == 10


@settings(deadline=None, max_examples=20)
@given(epoch=st.integers(0, 3), seed=st.integers(0, 5))
def test_a_batch_holds_rows_of_similar_length_and_batches_come_in_random_order(epoch: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(10, 210, 4096)
    batches = TrainingSampler(lengths, 32, seed).rows_of(epoch)
    padded = lengths[batches].max(axis=1).sum() * 32
    assert lengths[batches].sum() / padded > 0.97
    longest = lengths[batches].max(axis=1)
    assert np.abs(np.corrcoef(longest[:-1], longest[1:])[0, 1]) < 0.5


def test_the_last_incomplete_batch_is_a_random_one_and_not_the_longest() -> None:
    lengths = np.arange(105)
    dropped = [set(range(105)) - set(rows_of(TrainingSampler(lengths, 10, seed), 0)) for seed in range(20)]
    assert all(len(rows) == 5 for rows in dropped)
    assert min(map(min, dropped)) < 50


def test_evaluation_batches_hold_rows_of_similar_length() -> None:
    lengths = np.array([5, 90, 6, 91])
    assert [row for _, row in EvaluationSampler(lengths)] == [0, 2, 1, 3]
