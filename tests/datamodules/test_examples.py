import numpy as np
import pytest

from datamodules import InputError
from datamodules.examples import build_examples, time_cuts
from datamodules.interactions import Interactions, merge_titles


def log_of(rows: list[tuple[int, int, float]]) -> Interactions:
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=time.astype(float),
        users=[f"u{u}" for u in range(user.max() + 1)],
        titles=[f"t{i}" for i in range(item.max() + 1)],
    )


def test_histories_and_splits_by_hand() -> None:
    """One user sees items 0..9 at times 0..9, written in reverse.

    Cuts at 80 % and 90 % of ten sorted times are 8 and 9, so targets 2..7 train, 8 validates, 9 tests. With
    min_history 2 and max_history 3 the target 2 has history [0, 1] and the target 9 has [6, 7, 8].
    """
    log = log_of([(0, item, float(item)) for item in reversed(range(10))])
    examples = build_examples(log, min_history=2, max_history=3, seed=0)
    by_target = {
        int(t): (h.tolist(), int(s))
        for t, h, s in zip(examples.target, examples.history[:], examples.split, strict=True)
    }
    assert sorted(by_target) == list(range(2, 10))
    assert by_target[2] == ([-1, 0, 1], 0)
    assert by_target[7] == ([4, 5, 6], 0)
    assert by_target[8] == ([5, 6, 7], 1)
    assert by_target[9] == ([6, 7, 8], 2)
    # The id of an example is the row of its target in the source: item t stands in row 9 - t.
    assert {int(i): int(t) for i, t in zip(examples.id, examples.target, strict=True)} == {
        9 - t: t for t in range(2, 10)
    }


def test_users_with_short_histories_are_skipped_and_counted() -> None:
    rows = [(0, i, float(i)) for i in range(20)] + [(1, i, 0.5) for i in range(3)] + [(2, 0, 0.5)]
    examples = build_examples(log_of(rows), min_history=3, max_history=10, seed=0)
    assert examples.skipped_users == 2
    assert set(examples.user.tolist()) == {0}


def test_no_training_target_is_as_late_as_a_later_splits() -> None:
    rng = np.random.default_rng(1)
    rows = [
        (int(u), int(i), float(t))
        for u, i, t in zip(
            rng.integers(9, size=500), rng.integers(50, size=500), rng.integers(60, size=500), strict=True
        )
    ]
    examples = build_examples(log_of(rows), 3, 10, seed=0)
    train, val, test = (examples.time[examples.split == index] for index in range(3))
    assert train.max() < val.min()
    assert val.max() < test.min()
    assert time_cuts(np.arange(10.0), 0.8, 0.1) == (8.0, 9.0)


def test_ties_follow_the_seed_and_not_the_item_id() -> None:
    """Twenty items at one time: ordered by id, the target would always be the largest id."""
    rows = [(u, i, 0.0) for u in range(200) for i in range(20)] + [(0, i, 1.0 + i) for i in range(1500)]
    examples = build_examples(log_of(rows), 19, 19, seed=0)
    last = examples.target[examples.time == 0.0]
    assert len(last) == 200
    assert len(set(last.tolist())) > 15
    again = build_examples(log_of(rows), 19, 19, seed=0)
    other = build_examples(log_of(rows), 19, 19, seed=1)
    assert (again.target == examples.target).all()
    assert (other.target[other.time == 0.0] != last).any()


def test_too_little_data_is_refused() -> None:
    with pytest.raises(InputError, match="no user has more than 5"):
        build_examples(log_of([(0, i, float(i)) for i in range(5)]), 5, 10, seed=0)
    with pytest.raises(InputError, match="the train split is empty"):
        build_examples(log_of([(0, i, 0.0) for i in range(9)] + [(0, 9, 1.0)]), 3, 10, seed=0)


def test_titles_that_read_alike_are_one_item() -> None:
    titles, index = merge_titles(["Sabrina", " sabrina ", "Moon\n River", "Moon River", "Other"])
    assert titles == ["Sabrina", "Moon River", "Other"]
    assert index.tolist() == [0, 0, 1, 1, 2]
    with pytest.raises(InputError, match="item 1 .* empty title"):
        merge_titles(["a", "  "])
