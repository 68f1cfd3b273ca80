from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import InputError
from datamodules.filters import Deduplicate, KCore, MinRating, apply_filters
from datamodules.interactions import Interactions

pairs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60)


def log_of(rows: list[tuple[int, int]], times: list[float] | None = None) -> Interactions:
    user, item = np.array(rows, dtype=np.int32).T
    return Interactions(
        user=user,
        item=item,
        time=np.arange(len(rows), dtype=float) if times is None else np.array(times),
        users=[f"u{u}" for u in range(8)],
        titles=[f"t{i}" for i in range(8)],
        rating=np.arange(len(rows), dtype=float),
    )


def named(log: Interactions) -> list[tuple[str, str]]:
    return [(log.users[u], log.titles[i]) for u, i in zip(log.user.tolist(), log.item.tolist(), strict=True)]


def test_two_core_by_hand() -> None:
    """User 3 has one interaction; without it item 5 has one; without that user 2 has one; without it item 4 has one.

    What is left are users 0 and 1 with items 0 and 1.
    """
    rows = [(0, 0), (3, 5), (0, 1), (1, 0), (2, 5), (1, 1), (2, 4), (0, 4)]
    log = KCore(2).apply(log_of(rows))
    assert named(log) == [("u0", "t0"), ("u0", "t1"), ("u1", "t0"), ("u1", "t1")]
    assert log.titles == ["t0", "t1"]
    assert log.time.tolist() == [0, 2, 3, 5]
    assert log.dropped == {
        "interactions dropped by KCore(k=2)": 4,
        "users without interactions, dropped": 6,
        "items without interactions, dropped": 6,
    }


@settings(deadline=None)
@given(rows=pairs, k=st.integers(1, 4))
def test_a_k_core_is_one_and_is_the_largest(rows: list[tuple[int, int]], k: int) -> None:
    """Removing one row at a time in any order ends in the same set."""
    left = list(rows)
    while bad := [
        r for r in left if sum(a == r[0] for a, _ in left) < k or sum(b == r[1] for _, b in left) < k
    ]:
        left.remove(bad[-1])
    if not left:
        with pytest.raises(InputError, match=f"KCore\\(k={k}\\) drops all {len(rows)} interactions"):
            KCore(k).apply(log_of(rows))
        return
    log = KCore(k).apply(log_of(rows))
    assert sorted(named(log)) == sorted((f"u{u}", f"t{i}") for u, i in left)


@settings(deadline=None)
@given(rows=pairs, data=st.data())
def test_deduplication_keeps_the_earliest_of_each_pair(
    rows: list[tuple[int, int]], data: st.DataObject
) -> None:
    times = data.draw(st.lists(st.integers(0, 3).map(float), min_size=len(rows), max_size=len(rows)))
    first: dict[tuple[int, int], int] = {}
    for row, pair in enumerate(rows):
        if pair not in first or times[row] < times[first[pair]]:
            first[pair] = row
    log = Deduplicate().apply(log_of(rows, times))
    assert log.rating is not None
    assert log.rating.tolist() == sorted(first.values())
    assert log.dropped == {"interactions dropped by Deduplicate()": len(rows) - len(first)}


def test_low_ratings_go_and_filters_follow_each_other() -> None:
    """Ratings are 0 to 3: of (0, 0), (0, 0), (0, 1), (0, 0) the first goes, then the last, a repeated pair."""
    log = apply_filters(log_of([(0, 0), (0, 0), (0, 1), (0, 0)]), [MinRating(1), Deduplicate()])
    assert log.time.tolist() == [1, 2]
    assert list(log.dropped.values()) == [1, 1]
    assert len(log.titles) == 8
    with pytest.raises(InputError, match=r"MinRating\(threshold=9\) drops all 2"):
        MinRating(9).apply(log)
    with pytest.raises(InputError, match="set its rating_field"):
        MinRating(1).apply(replace(log, rating=None))
