"""The rule on curves made by hand."""

from dataclasses import replace

import pytest

from callbacks.collapse_rule import Change, CollapseRule, Evidence, Watch

RULE = CollapseRule(z=3.0, margin=0.01)
FALL = Evidence(loss=-0.1, mrr=Change(-0.05, 0.01), hit_ratio=Change(-0.06, 0.01))
BEST = None


def heard(rule: CollapseRule, *curve: Evidence | None) -> list[int]:
    """The validations at which the alarm sounds."""
    watch = Watch(rule)
    return [index for index, evidence in enumerate(curve) if watch.see(evidence)]


def test_a_fall_by_hand() -> None:
    """With z = 3: mrr −.05 + 3 · .01 = −.02 < 0, and hit ratio −.06 + 3 · .01 = −.03 < −.01."""
    assert RULE.falls(FALL)


@pytest.mark.parametrize(
    "harmless",
    [
        Evidence(0.0, FALL.mrr, FALL.hit_ratio),  # the loss stayed
        Evidence(float("nan"), FALL.mrr, FALL.hit_ratio),
        Evidence(-0.1, Change(-0.05, 0.02), FALL.hit_ratio),  # mrr −.05 + 3 · .02 > 0
        Evidence(-0.1, FALL.mrr, Change(-0.06, 0.02)),  # hit ratio −.06 + 3 · .02 = 0
        Evidence(-0.1, FALL.mrr, Change(-0.012, 0.001)),  # significant, and −.012 + .003 > −.01
        Evidence(-0.1, FALL.mrr, Change(0.06, 0.01)),
    ],
)
def test_each_condition_is_needed(harmless: Evidence) -> None:
    assert not RULE.falls(harmless)


def test_the_loss_may_rise_or_the_held_out_metrics_recover_without_an_alarm() -> None:
    up = Evidence(0.2, FALL.mrr, FALL.hit_ratio)
    recovered = Evidence(-0.2, Change(-0.001, 0.01), Change(-0.001, 0.01))
    rule = replace(RULE, patience=2)
    assert heard(rule, BEST, FALL, up, FALL, recovered, FALL, BEST, FALL) == []


def test_it_sounds_at_the_n_th_fall_in_a_row_and_once_until_a_recovery() -> None:
    curve = [BEST, FALL, FALL, FALL, FALL, BEST, FALL, FALL]
    assert heard(replace(RULE, patience=1), *curve) == [1, 6]
    assert heard(replace(RULE, patience=2), *curve) == [2, 7]
    assert heard(replace(RULE, patience=3), *curve) == [3]


def test_where_easy_negatives_carry_the_gradient_one_fall_fewer_will_do_and_never_none() -> None:
    carried = Evidence(FALL.loss, FALL.mrr, FALL.hit_ratio, easy_share=0.7)
    not_carried = Evidence(FALL.loss, FALL.mrr, FALL.hit_ratio, easy_share=0.3)
    calm = Evidence(0.1, FALL.mrr, FALL.hit_ratio, easy_share=0.7)
    assert heard(replace(RULE, patience=2), carried, carried) == [0]
    assert heard(replace(RULE, patience=2), not_carried, not_carried) == [1]
    assert heard(replace(RULE, patience=3), FALL, carried) == [1]
    assert heard(replace(RULE, patience=1), calm, carried) == [1]


@pytest.mark.parametrize("settings", [{"z": -1.0}, {"margin": -0.1}, {"patience": 0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        CollapseRule(**settings)
