import numpy as np
import pytest

from datamodules import InputError
from datamodules.negatives import SeenItems, UniformProposals, draw_candidates

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
