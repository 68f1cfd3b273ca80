"""What a run logged, as the rule sees it."""

from pathlib import Path

import pytest

from callbacks.collapse_rule import Change, Evidence
from study.replay import replay
from study.runs import read_run
from tests.study.folders import configuration, objective, write_run

CHANGES = "alarm/train_loss_change,alarm/mrr_change,alarm/mrr_error,alarm/hit_ratio@1_change,alarm/hit_ratio@1_error"
LINES = [
    f"step,train/loss,val/mrr,val/hit_ratio@1,gradient/easy_norm,gradient/boundary_norm,{CHANGES}",
    "9,.9,.6,.5,3,1,,,,,",
    "19,.5,.4,.1,,,-.4,-.2,.01,-.4,.02",
    "29,.5,.5,.1,0,0,-.4,-.1,.01,-.4,.02",
    "39,.2,.7,.6,1,3,-.7,.1,.01,.1,.02",
    "49,.2,.6,.5,,,-.1,-.1,.01,-.1,.02",
]


def test_evidence_is_what_the_callback_logged(tmp_path: Path) -> None:
    """Norms of 3 and 1 are .75 until 1 and 3 are measured; 0 and 0 say nothing; a better validation is none."""
    folder = write_run(tmp_path / "run", configuration(objective(), seed=7), None)
    (folder / "metrics.csv").write_text("\n".join(LINES) + "\n")
    found = replay(read_run(folder, "run"))
    assert found is not None
    assert (found.name, found.seed) == ("run", 7)
    assert found.evidence == [
        None,
        Evidence(-0.4, Change(-0.2, 0.01), Change(-0.4, 0.02), 0.75),
        Evidence(-0.4, Change(-0.1, 0.01), Change(-0.4, 0.02), 0.75),
        None,
        Evidence(-0.1, Change(-0.1, 0.01), Change(-0.1, 0.02), 0.25),
    ]


@pytest.mark.parametrize("norms", [True, False])
def test_a_run_without_norms_or_without_the_callback(tmp_path: Path, norms: bool) -> None:
    folder = write_run(tmp_path / "run", configuration(objective()), None)
    assert replay(read_run(folder, "run")) is None
    text = "\n".join(LINES) if norms else "\n".join(LINES).replace("gradient/easy_norm", "gradient/other")
    (folder / "metrics.csv").write_text(text + "\n")
    found = replay(read_run(folder, "run"))
    assert found is not None
    assert found.evidence[1] is not None
    assert (found.evidence[1].easy_share is None) == (not norms)
