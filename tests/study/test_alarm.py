"""Replayed runs against verdicts worked out by hand."""

from pathlib import Path

import pytest
import yaml

from callbacks.collapse_rule import Change, CollapseRule, Evidence
from datamodules.errors import InputError
from study.alarm import Verdict, choose, cost, judge, leave_one_seed_out, main, report, summary
from study.curves import Curve, read_curve


def fall(hit_ratio: float, error: float = 0.005) -> Evidence:
    return Evidence(-0.1, Change(hit_ratio, error), Change(hit_ratio, error))


def curve(seed: int, *evidence: Evidence | None) -> Curve:
    return Curve(Path("run"), seed, True, list(evidence))


COLLAPSED = [None, fall(-0.03), fall(-0.06), fall(-0.08)]
HEALTHY = [None, fall(-0.001), None, fall(-0.002)]
# Two falls beyond 2 errors and not beyond 3, in a run that loses little.
NOISY = [None, fall(-0.025, 0.01), fall(-0.028, 0.01), None]


def test_verdicts_by_hand() -> None:
    """−.03 + 3 · .005 = −.015 < −.01 is a fall, so with patience 1, 2, 3 it sounds at 1, 2, 3; HR@1 is lost at 2."""
    for patience, delay in ((1, -1), (2, 0), (3, 1)):
        verdict = judge(CollapseRule(patience=patience), curve(0, *COLLAPSED))
        assert verdict == Verdict(collapsed=2, sounded=patience)
        assert verdict.delay == delay
        assert judge(CollapseRule(patience=patience), curve(0, *HEALTHY)) == Verdict(None, None)
    missed = judge(CollapseRule(patience=4), curve(0, *COLLAPSED))
    assert missed.is_missed
    assert missed.delay is None
    eager = judge(CollapseRule(z=2.0, margin=0.0, patience=1), curve(0, *NOISY))
    assert eager.is_false_alarm
    assert not judge(CollapseRule(), curve(0, *NOISY)).is_false_alarm


def test_errors_cost_more_than_waiting() -> None:
    """A false alarm and a miss are an error each; delays 2 and −1 cost 2, since an early alarm gains nothing."""
    verdicts = [Verdict(None, 1), Verdict(2, None), Verdict(2, 4), Verdict(2, 1), Verdict(None, None)]
    assert cost(verdicts) == (2, 2)


def test_the_settings_come_from_the_other_seeds() -> None:
    """Seed 0 alone has the run that an eager rule mistakes: what is chosen without it is judged on it."""
    gentle = [None, fall(-0.07, 0.02), fall(-0.07, 0.02), None]  # −.07 + 2 · .02 < −.02, −.07 + 4 · .02 > 0
    curves = [curve(0, *NOISY), curve(1, *gentle), curve(2, *gentle)]
    found = {each.seed: (rule, verdict) for each, rule, verdict in leave_one_seed_out(curves)}
    assert found[0][0] == choose(curves[1:])
    assert found[0][1] == judge(choose(curves[1:]), curves[0])
    assert cost([judge(found[1][0], curves[0]), judge(found[1][0], curves[2])])[0] == 0
    with pytest.raises(InputError, match="at least two"):
        leave_one_seed_out(curves[:1])


def test_the_default_wins_where_nothing_is_gained() -> None:
    assert choose([curve(0, *HEALTHY)]) == CollapseRule()


def test_counts_stand_behind_every_figure() -> None:
    text = summary([Verdict(None, None), Verdict(None, 3), Verdict(2, 2), Verdict(2, 5), Verdict(1, None)])
    assert "false alarms: 1 of 2 healthy runs" in text
    assert "collapses noticed: 2 of 3; delay in validations: median 3, from 0 to 3" in text
    assert "only 3 of 5 runs lost 0.05 HR@1: too few" in text
    assert "too few" not in summary([Verdict(2, 2)] * 5)
    assert "not possible, all runs have seed 4" in report([curve(4, *HEALTHY)])


def written(folder: Path, lines: list[dict[str, object]], max_val_examples: int | None = 100) -> Path:
    folder.mkdir(parents=True)
    names = list(dict.fromkeys(name for line in lines for name in line))
    rows = [",".join(names), *(",".join(str(line.get(name, "")) for name in names) for line in lines)]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    data = {"init_args": {"max_val_examples": max_val_examples}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed_everything": 7, "data": data}))
    return folder


NORMS = {"gradient/easy_norm": 3, "gradient/boundary_norm": 1}
UNPAIRED = [
    {"step": 9, "train/loss": 0.9},
    {"step": 19, "train/loss": 0.7, "val/mrr": 0.6, "val/hit_ratio@1": 0.5, **NORMS},
    {"step": 29, "train/loss": 0.5},
    {"step": 39, "train/loss": 0.3, "val/mrr": 0.4, "val/hit_ratio@1": 0.1},
    {"step": 49, "train/loss": 0.2, "val/mrr": 0.7, "val/hit_ratio@1": 0.6},
]  # fmt: skip


def test_a_run_without_the_callback_is_bounded_by_hand(tmp_path: Path) -> None:
    """Losses .8 and .4 in the mean; with N = 100 the errors are √((.24 + .24) / 100) and √((.25 + .09) / 100)."""
    found = read_curve(written(tmp_path / "run", UNPAIRED))
    assert (found.seed, found.paired) == (7, False)
    first, second, third = found.evidence
    assert (first, third) == (None, None)
    assert second is not None
    assert second.loss == pytest.approx(-0.4)
    assert (second.mrr.mean, second.mrr.error) == pytest.approx((-0.2, 0.0048**0.5))
    assert (second.hit_ratio.mean, second.hit_ratio.error) == pytest.approx((-0.4, 0.0034**0.5))
    assert second.easy_share == 0.75
    assert read_curve(tmp_path / "run", examples=400).evidence[1].mrr.error == pytest.approx(0.0012**0.5)


def test_what_the_callback_logged_is_taken_as_it_is(tmp_path: Path) -> None:
    logged = {
        "alarm/train_loss_change": -0.4,
        "alarm/mrr_change": -0.2,
        "alarm/mrr_error": 0.01,
        "alarm/hit_ratio@1_change": -0.4,
        "alarm/hit_ratio@1_error": 0.02,
    }
    lines = [dict(line) for line in UNPAIRED]
    lines[3] |= logged
    lines[4] |= {**logged, "alarm/mrr_change": 0.1}
    found = read_curve(written(tmp_path / "run", lines, max_val_examples=None))
    assert found.paired
    assert found.evidence == [None, Evidence(-0.4, Change(-0.2, 0.01), Change(-0.4, 0.02), 0.75), None]


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = written(tmp_path / "run", UNPAIRED, max_val_examples=None)
    assert main([str(run)]) == 2
    assert "give --examples" in capsys.readouterr().err
    assert main([str(tmp_path / "none")]) == 2
    assert "metrics.csv is missing" in capsys.readouterr().err
    assert main([str(run), "--examples", "100"]) == 0
    assert "1 runs, 1 of them without paired errors" in capsys.readouterr().out
    empty = written(tmp_path / "empty", UNPAIRED[:1])
    assert main([str(empty)]) == 2
    assert "has no validation" in capsys.readouterr().err
