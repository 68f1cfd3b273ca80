"""Paired changes against hand-derived numbers and the bootstrap over users."""

import numpy as np
import pytest
import torch

from callbacks.held_out import HeldOut
from datamodules.user_bootstrap import resampled_means


def held_out(ranks: list[int], users: list[int] | None = None) -> HeldOut:
    size = len(ranks)
    return HeldOut(np.arange(size), np.array(users or range(size)), np.array(ranks))


def test_changes_by_hand() -> None:
    """Ranks 0, 1, 3, 0 become 0, 0, 1, 3 (best is 0).

    Hits 1, 0, 0, 1 become 1, 1, 0, 0: differences 0, 1, 0, −1, mean 0, Σ r² = 2, error √(4/3 · 2 / 16) = √(1/6).
    Reciprocal ranks 1, 1/2, 1/4, 1 become 1, 1, 1/2, 1/4: mean (0 + 1/2 + 1/4 − 3/4) / 4 = 0.
    """
    before, after = held_out([0, 1, 3, 0]), held_out([0, 0, 1, 3])
    assert before.mrr == pytest.approx((1 + 0.5 + 0.25 + 1) / 4)
    hit = after.hit_ratio_since(before)
    assert (hit.mean, hit.error) == (0.0, pytest.approx((1 / 6) ** 0.5))
    mrr = after.mrr_since(before)
    assert mrr.mean == pytest.approx(0)
    assert mrr.error == pytest.approx((4 / 3 * (0.25 + 1 / 16 + 9 / 16) / 16) ** 0.5)


def test_examples_of_one_user_count_together() -> None:
    """Users 0, 0, 1, 1 with differences −1, −1, 0, 0: d̄ = −1/2, r_u = −1 and 1, error √(2 · 2 / 16) = 1/2."""
    before, after = held_out([0, 0, 0, 0], [0, 0, 1, 1]), held_out([1, 1, 0, 0], [0, 0, 1, 1])
    change = after.hit_ratio_since(before)
    assert (change.mean, change.error) == (-0.5, 0.5)
    alone = held_out([1, 0], [7, 7]).hit_ratio_since(held_out([0, 0], [7, 7]))
    assert alone.error == float("inf"), "one user says nothing about others"


def test_the_error_is_the_bootstraps() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(200), rng.integers(1, 12, size=200))
    tastes = rng.integers(0, 3, size=200)[users]
    ids = np.arange(len(users))
    before = HeldOut(ids, users, rng.integers(0, 4, size=len(users)))
    after = HeldOut(ids, users, tastes * rng.integers(0, 4, size=len(users)))
    difference = 1 / (after.rank + 1) - 1 / (before.rank + 1)
    spread = resampled_means(difference, users, seed=0).std()
    assert after.mrr_since(before).error == pytest.approx(spread, rel=0.03)


def test_batches_are_joined_in_the_order_of_their_ids_and_survive_a_checkpoint() -> None:
    batches = [
        {"id": torch.tensor(ids), "user": torch.tensor(users), "rank": torch.tensor(ranks)}
        for ids, users, ranks in (([7, 3], [1, 0], [0, 2]), ([5], [2], [4]))
    ]
    found = HeldOut.gather(batches)
    assert [column.tolist() for column in (found.id, found.user, found.rank)] == [
        [3, 5, 7],
        [0, 2, 1],
        [2, 4, 0],
    ]
    again = HeldOut.from_state(found.state_dict())
    assert again.same_examples(found)
    assert again.rank.tolist() == [2, 4, 0]
    assert not found.same_examples(held_out([0, 0, 0]))
