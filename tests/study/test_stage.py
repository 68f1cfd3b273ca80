"""Stages against a `train.py` that notes how it was called; tests/study/test_run.py runs the real one."""

import json
import os
from pathlib import Path

import pytest
import yaml

from datamodules.errors import InputError
from study.stage import Stage

_TRAIN = """
import pathlib, sys
calls = pathlib.Path("calls.txt")
calls.write_text((calls.read_text() if calls.exists() else "") + " ".join(sys.argv[1:]) + "\\n")
if pathlib.Path("broken").exists() and sys.argv[1] == "fit":
    folder = pathlib.Path("run/checkpoints")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "last.ckpt").touch()
    print("what went wrong")
    sys.exit(143)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(_TRAIN)
    Path("a.yaml").write_text("x: 1\n")


def calls() -> list[str]:
    return Path("calls.txt").read_text().splitlines()


def test_a_run_is_trained_and_predicted_once() -> None:
    stage = Stage(Path("run"), (Path("a.yaml"),), {"trainer": {"max_steps": 2}})
    stage.finish()
    files = "--config a.yaml --config run/settings.yaml"
    assert calls() == [f"fit {files}", f"predict {files} --ckpt_path best"]
    assert yaml.safe_load(Path("run/settings.yaml").read_text()) == {"trainer": {"max_steps": 2}}
    record = json.loads(Path("run/finished.json").read_text())
    assert record["command"] == f"python train.py fit {files}"
    assert isinstance(record["seconds"], float)
    stage.finish()
    assert len(calls()) == 2


def test_what_was_trained_is_predicted_later_and_not_trained_again() -> None:
    Stage(Path("run"), (Path("a.yaml"),), {}, ("fit",)).finish()
    trained = json.loads(Path("run/finished.json").read_text())
    stage = Stage(Path("run"), (Path("a.yaml"),), {})
    assert not stage.is_finished
    stage.finish()
    assert calls() == ["fit --config a.yaml", "predict --config a.yaml --ckpt_path best"]
    assert stage.is_finished
    assert json.loads(Path("run/finished.json").read_text()) == trained | {"done": ["fit", "predict"]}


def test_a_rule_is_not_trained() -> None:
    Stage(Path("run"), (Path("a.yaml"),), {}, ("test", "predict")).finish()
    assert calls() == ["test --config a.yaml", "predict --config a.yaml"]


@pytest.mark.parametrize("changed", ["a file", "the settings"])
def test_a_changed_run_is_done_again(changed: str) -> None:
    Stage(Path("run"), (Path("a.yaml"),), {"b": 1}).finish()
    if changed == "a file":
        Path("a.yaml").write_text("x: 2\n")
    stage = Stage(Path("run"), (Path("a.yaml"),), {"b": 2 if changed == "the settings" else 1})
    assert not stage.is_finished
    stage.finish()
    assert len(calls()) == 4
    assert "last" not in calls()[2]


def test_what_starts_from_a_changed_run_is_done_again() -> None:
    def stages(steps: int) -> list[Stage]:
        first = Stage(Path("sft"), (Path("a.yaml"),), {"max_steps": steps})
        return [first, Stage(Path("run"), (Path("a.yaml"),), {}, after=(first,))]

    for stage in stages(1):
        stage.finish()
    assert [stage.is_finished for stage in stages(1)] == [True, True]
    assert [stage.is_finished for stage in stages(2)] == [False, False]


def test_a_missing_config_is_named() -> None:
    with pytest.raises(InputError, match=r"b\.yaml: No such file or directory: it is a config of run"):
        Stage(Path("run"), (Path("b.yaml"),), {}).finish()


def test_what_was_stopped_is_resumed_and_a_failure_names_the_log() -> None:
    Path("broken").touch()
    stage = Stage(Path("run"), (Path("a.yaml"),), {})
    Path("run").mkdir()
    log = Path("run/log.txt")
    with pytest.raises(InputError, match=r"status 143: what went wrong; see run/log\.txt"):
        stage.finish(threads=1, log=log)
    assert "what went wrong" in log.read_text()
    assert not stage.is_finished
    log.write_text(f"\n$ python train.py\nerror: of an earlier command\n{log.read_text()}")
    with pytest.raises(InputError, match="status 143: what went wrong"):
        stage.finish(threads=1, log=log)
    Path("broken").unlink()
    stage.finish(threads=1, log=log)
    assert calls()[1:3] == ["fit --config a.yaml --ckpt_path last"] * 2
    assert json.loads(Path("run/finished.json").read_text())["seconds"] is None


def test_the_checkpoint_of_an_earlier_run_is_not_resumed_where_training_never_started() -> None:
    """A changed run is refused at its start, twice; then it begins, and is stopped after a checkpoint of its own."""
    last = Path("run/checkpoints/last.ckpt")
    last.parent.mkdir(parents=True)
    last.touch()
    os.utime(last, ns=(1, 1))
    Path("train.py").write_text(
        "import sys; open('calls.txt', 'a').write(' '.join(sys.argv[1:]) + '\\n'); sys.exit(2)"
    )
    stage = Stage(Path("run"), (Path("a.yaml"),), {})
    for _ in range(2):
        with pytest.raises(InputError, match="ended with status 2"):
            stage.finish(threads=1, log=Path("log.txt"))
    assert calls() == ["fit --config a.yaml"] * 2
    os.utime(last, ns=(2, 2))
    with pytest.raises(InputError, match="ended with status 2"):
        stage.finish(threads=1, log=Path("log.txt"))
    assert calls()[2] == "fit --config a.yaml --ckpt_path last"
