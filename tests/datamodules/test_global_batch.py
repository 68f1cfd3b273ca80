import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules import InputError
from datamodules.global_batch import GlobalBatch

FEW = st.integers(1, 9)
SPLITS_OF_24 = [GlobalBatch(1, 24, 1), GlobalBatch(1, 4, 6), GlobalBatch(2, 4, 3), GlobalBatch(3, 1, 8)]


@given(processes=FEW, batch_size=FEW, accumulated=FEW)
def test_accumulation_follows_from_the_size(processes: int, batch_size: int, accumulated: int) -> None:
    size = processes * batch_size * accumulated
    found = GlobalBatch.of_size(size, processes, batch_size)
    assert found == GlobalBatch(processes, batch_size, accumulated)
    assert found.size == size


def test_it_says_the_product() -> None:
    assert str(GlobalBatch(4, 8, 4)) == "global batch 128 = 4 processes × 8 prompts × 4 accumulated"
    assert str(GlobalBatch(1, 8)) == "global batch 8 = 1 process × 8 prompts × 1 accumulated"


def test_a_size_that_does_not_divide_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(
        InputError, match="100 is no multiple of 4 processes × 8 prompts = 32: take 96 or 128"
    ):
        GlobalBatch.of_size(100, 4, 8)
    with pytest.raises(InputError, match="20 is no multiple of 4 processes × 8 prompts = 32: take 32, or"):
        GlobalBatch.of_size(20, 4, 8)


@given(steps=st.integers(0, 50), then=st.sampled_from(SPLITS_OF_24), now=st.sampled_from(SPLITS_OF_24))
def test_a_position_is_the_same_step_under_any_split(steps: int, then: GlobalBatch, now: GlobalBatch) -> None:
    assert now.go_on_from(then, steps * then.accumulated) == steps * now.accumulated


def test_an_unfinished_step_is_taken_again_as_a_whole() -> None:
    half = GlobalBatch(1, 4, 4)
    assert half.go_on_from(half, 11) == 8
    assert GlobalBatch(1, 8, 2).go_on_from(half, 11) == 4


def test_another_global_batch_is_refused() -> None:
    match = "trained with global batch 32 = .*, here it is global batch 64 = .* must stay 32, as it does with"
    with pytest.raises(InputError, match=match):
        GlobalBatch(2, 32).go_on_from(GlobalBatch(1, 32), 5)
