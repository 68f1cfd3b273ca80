import numpy as np
import pytest

from datamodules import InputError
from datamodules.candidates import Popularity, Uniform
from datamodules.negatives import SeenItems, UniformProposals, WeightedProposals, draw_candidates

USERS, ITEMS, EXAMPLES = 30, 200, 3000


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    log_user, log_item = rng.integers(USERS, size=1500), rng.integers(ITEMS, size=1500)
    rows = rng.integers(1500, size=EXAMPLES)
    user, target, ids = log_user[rows].astype(np.int32), log_item[rows].astype(np.int32), np.arange(EXAMPLES)
    seen = SeenItems(log_user.astype(np.int32), log_item.astype(np.int32), ITEMS)
    lists = draw_candidates(seen, ids, user, target, UniformProposals(ITEMS), 20, seed=7)
    pairs = set(zip(log_user.tolist(), log_item.tolist(), strict=True))
    return {"lists": lists, "user": user, "target": target, "ids": ids, "seen": seen, "pairs": pairs}


def test_lists_hold_the_target_and_unseen_negatives_without_repeats(drawn) -> None:
    for row, (user, target) in enumerate(zip(drawn["user"].tolist(), drawn["target"].tolist(), strict=True)):
        items = drawn["lists"][row].tolist()
        assert len(set(items)) == 20
        assert items.count(target) == 1
        assert not any((user, item) in drawn["pairs"] for item in items if item != target)


def test_the_targets_place_says_nothing(drawn) -> None:
    """Places are uniform: chi-square with 19 degrees of freedom is below 43.8 in 999 of 1,000 draws."""
    place = np.argmax(drawn["lists"] == drawn["target"][:, None], axis=1)
    counts = np.bincount(place, minlength=20)
    expected = EXAMPLES / 20
    assert ((counts - expected) ** 2 / expected).sum() < 43.8
    target = np.bincount(drawn["target"]).argmax()
    assert len(set(place[drawn["target"] == target].tolist())) > 5


def test_rows_of_one_target_share_no_more_negatives_than_chance(drawn) -> None:
    target = np.bincount(drawn["target"]).argmax()
    rows = [set(items) - {target} for items in drawn["lists"][drawn["target"] == target].tolist()]
    shared = np.mean([len(a & b) for n, a in enumerate(rows) for b in rows[:n]])
    # Chance: 19 · 19 / (200 minus about 45 consumed) is about 2.3; lists seeded by the target would share all 19.
    assert shared < 4


def test_a_list_depends_on_its_own_example_alone(drawn) -> None:
    part = slice(1000, 1010)
    alone = draw_candidates(
        drawn["seen"],
        drawn["ids"][part],
        drawn["user"][part],
        drawn["target"][part],
        UniformProposals(ITEMS),
        20,
        7,
    )
    assert (alone == drawn["lists"][part]).all()
    other = draw_candidates(
        drawn["seen"],
        drawn["ids"][part],
        drawn["user"][part],
        drawn["target"][part],
        UniformProposals(ITEMS),
        20,
        8,
    )
    assert (other != alone).any()


def test_a_user_who_has_seen_almost_everything_still_gets_exact_lists() -> None:
    user = np.zeros(181, dtype=np.int32)
    seen = SeenItems(user, np.arange(181, dtype=np.int32), ITEMS)
    lists = draw_candidates(
        seen, np.arange(5), user[:5], np.arange(5, dtype=np.int32), UniformProposals(ITEMS), 20, seed=0
    )
    for target, items in enumerate(lists.tolist()):
        assert sorted(items) == [target, *range(181, 200)]


def test_too_small_a_catalogue_is_refused_before_drawing() -> None:
    user = np.zeros(182, dtype=np.int32)
    seen = SeenItems(user, np.arange(182, dtype=np.int32), ITEMS)
    with pytest.raises(InputError, match="leaves 18 of 200 items to draw 19 negatives"):
        draw_candidates(seen, np.arange(1), user[:1], user[:1], UniformProposals(ITEMS), 20, seed=0)


def test_weighted_negatives_come_in_proportion_to_their_weight() -> None:
    """One negative per list, weights 1 to 5: the shares are 1/15 to 5/15.

    Chi-square with 4 degrees of freedom is below 18.5 in 999 of 1,000 draws.
    """
    weights = np.arange(1.0, 6.0)
    seen = SeenItems(np.zeros(1, np.int32), np.array([5], np.int32), 6)
    user, target = np.zeros(6000, np.int32), np.full(6000, 5, np.int32)
    proposals = WeightedProposals(np.append(weights, 100.0))
    lists = draw_candidates(seen, np.arange(6000), user, target, proposals, 2, seed=0)
    counts = np.bincount(lists[lists != 5], minlength=5)
    expected = 6000 * weights / weights.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 18.5


def test_exact_draws_where_proposals_run_out_have_the_same_shares() -> None:
    """All but five items were seen and nearly all weight is theirs, so the whole catalogue is ranked by random keys."""
    weights = np.append(np.arange(1.0, 6.0), 1e9)
    user = np.zeros(3000, np.int32)
    seen = SeenItems(np.zeros(1, np.int32), np.array([5], np.int32), 6)
    target = np.full(3000, 5, np.int32)
    lists = draw_candidates(seen, np.arange(3000), user, target, WeightedProposals(weights), 2, seed=0)
    counts = np.bincount(lists[lists != 5], minlength=5)
    expected = 3000 * weights[:5] / 15
    assert ((counts - expected) ** 2 / expected).sum() < 18.5


def test_popularity_counts_what_training_may_see() -> None:
    """Two of three occurrences are item 1's: with power 2 the weights are (1 + 1)², (1 + 2)² and 1."""
    proposals = Popularity(power=2.0).proposals(np.array([1, 2, 0]))
    uniform = np.array([0.0, 3.99 / 14, 4.01 / 14, 12.99 / 14, 13.01 / 14])
    words = (uniform * 2.0**53).astype(np.uint64) << np.uint64(11)
    assert proposals.items(words).tolist() == [0, 0, 1, 1, 2]
    assert Uniform().proposals(np.array([1, 2, 0])).items(np.arange(4, dtype=np.uint64)).tolist() == [
        0,
        1,
        2,
        0,
    ]


def test_the_default_lists_are_what_they_always_were() -> None:
    """A change of these numbers is a change of everybody's data: raise the build version with it."""
    seen = SeenItems(np.array([0, 0], np.int32), np.array([3, 7], np.int32), 50)
    ids, user, target = np.array([11, 12]), np.zeros(2, np.int32), np.array([3, 7], np.int32)
    assert draw_candidates(seen, ids, user, target, UniformProposals(50), 6, seed=1).tolist() == [
        [3, 13, 48, 11, 43, 6],
        [18, 9, 35, 37, 7, 0],
    ]


def test_seen_items_are_counted_once() -> None:
    """User 0 consumed items 1 and 2, item 1 twice; user 1 nothing; user 2 item 0."""
    user, item = (np.array(column, dtype=np.int32) for column in ([0, 2, 0, 0], [1, 0, 2, 1]))
    seen = SeenItems(user, item, num_items=3)
    assert seen.count(np.arange(3, dtype=np.int32)).tolist() == [2, 0, 1]
    everything = np.tile(np.arange(3), (3, 1))
    assert seen.contains(np.arange(3, dtype=np.int32), everything).tolist() == [
        [False, True, True],
        [False, False, False],
        [True, False, False],
    ]
