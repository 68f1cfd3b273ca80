"""Replayed runs against verdicts worked out by hand."""

import pytest

from callbacks.collapse_rule import Change, CollapseRule, Evidence
from datamodules.errors import InputError
from study.alarm import Verdict, choose, cost, judge, leave_one_seed_out
from study.replay import Replay


def fall(hit_ratio: float, error: float = 0.005) -> Evidence:
    return Evidence(-0.1, Change(hit_ratio, error), Change(hit_ratio, error))


def run(seed: int, *evidence: Evidence | None) -> Replay:
    return Replay("run", seed, list(evidence))


COLLAPSED = [None, fall(-0.03), fall(-0.06), fall(-0.08)]
HEALTHY = [None, fall(-0.001), None, fall(-0.002)]
# Two falls beyond 2 errors and not beyond 3, in a run that loses little.
NOISY = [None, fall(-0.025, 0.01), fall(-0.028, 0.01), None]


def test_verdicts_by_hand() -> None:
    """−.03 + 3 · .005 = −.015 < −.01 is a fall, so with patience 1, 2, 3 it sounds at 1, 2, 3; HR@1 is lost at 2."""
    for patience, delay in ((1, -1), (2, 0), (3, 1)):
        rule = CollapseRule(z=3.0, margin=0.01, patience=patience)
        verdict = judge(rule, run(0, *COLLAPSED))
        assert verdict == Verdict(collapsed=2, sounded=patience)
        assert verdict.delay == delay
        assert judge(rule, run(0, *HEALTHY)) == Verdict(None, None)
    missed = judge(CollapseRule(patience=4), run(0, *COLLAPSED))
    assert missed.is_missed
    assert missed.delay is None
    eager = judge(CollapseRule(z=2.0, margin=0.0, patience=1), run(0, *NOISY))
    assert eager.is_false_alarm
    assert not judge(CollapseRule(), run(0, *NOISY)).is_false_alarm


def test_errors_cost_more_than_waiting() -> None:
    """A false alarm and a miss are an error each; delays 2 and −1 cost 2, since an early alarm gains nothing."""
    verdicts = [Verdict(None, 1), Verdict(2, None), Verdict(2, 4), Verdict(2, 1), Verdict(None, None)]
    assert cost(verdicts) == (2, 2)


def test_the_settings_come_from_the_other_seeds() -> None:
    """Seed 0 alone has the run that an eager rule mistakes: what is chosen without it is judged on it."""
    gentle = [None, fall(-0.07, 0.02), fall(-0.07, 0.02), None]  # −.07 + 2 · .02 < −.02, −.07 + 4 · .02 > 0
    runs = [run(0, *NOISY), run(1, *gentle), run(2, *gentle)]
    found = {each.seed: (rule, verdict) for each, rule, verdict in leave_one_seed_out(runs)}
    assert found[0][0] == choose(runs[1:])
    assert found[0][1] == judge(choose(runs[1:]), runs[0])
    assert cost([judge(found[1][0], runs[0]), judge(found[1][0], runs[2])])[0] == 0
    with pytest.raises(InputError, match="at least two"):
        leave_one_seed_out(runs[:1])


def test_the_default_wins_where_nothing_is_gained() -> None:
    assert choose([run(0, *HEALTHY)]) == CollapseRule()
