"""Many stages beside each other, with a script in place of training."""

from pathlib import Path

import pytest

from datamodules.errors import InputError
from study.run import Runner
from study.stage import Stage

_TEST = """
import sys
if "bad.yaml" in sys.argv:
    sys.exit("error: bad.yaml is bad")
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_leaves_no_other_run_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(_TEST)
    for name in ("bad", "good"):
        Path(f"{name}.yaml").write_text("x: 1\n")
    stages = [
        Stage(Path("out", folder), (Path(f"{name}.yaml"),), {}, ("test",))
        for folder, name in (("a", "good"), ("b", "bad"), ("c", "good"))
    ]
    with pytest.raises(InputError, match=r"ended with status 1: error: bad\.yaml is bad; see out/b/log\.txt"):
        Runner(jobs).finish("three", stages)
    assert [stage.is_finished for stage in stages] == [True, False, True]
    assert "2/3 b failed" in capsys.readouterr().out
    Path("bad.yaml").rename("fixed.yaml")
    again = [stages[0], Stage(Path("out/b"), (Path("fixed.yaml"),), {}, ("test",)), stages[2]]
    Runner(jobs).finish("three", again)
    assert "three: 1 runs to do" in capsys.readouterr().out
