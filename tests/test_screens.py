"""What a person reads when a command has ended: the end of a fit, the table of a test, and where a checkpoint lacks."""

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, Timer

from callbacks import CollapseAlarm
from callbacks.held_out import HeldOut
from callbacks.results_table import _table
from lightning_modules import fit_summary
from study.summary import read_run
from tests.cli import BreakLoss, config, run, supervised, weights

ROOT = Path(__file__).parents[1]


def one_line(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    return line


def test_a_fit_ends_with_what_to_run_next_and_a_test_with_intervals(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    here = ("--trainer.default_root_dir", "outputs/my run")
    run("fit", "run", settings, *here, "--data.num_negatives=3")
    block = capsys.readouterr().out.splitlines()[-4:]
    best = torch.load("outputs/my run/checkpoints/best.ckpt", weights_only=True)
    (score,) = [s["best_model_score"] for n, s in best["callbacks"].items() if "BestCheckpoint" in n]
    command = "train.py test --config configs/tiny/run.yaml --trainer.default_root_dir 'outputs/my run'"
    assert block == [
        "training ended after step 12: trainer.max_steps 12 reached",
        f"best:   step {best['global_step']}, val/hit_ratio@1 {score:.4f}",
        "files:  outputs/my run: checkpoints/best.ckpt, metrics.csv",
        f"next:   python {command} --data.num_negatives=3 --ckpt_path best",
    ]

    for subcommand in ("predict", "test"):
        run(subcommand, "run", settings, *here, "--data.num_negatives=3", "--ckpt_path", "best")
    table = capsys.readouterr().out.splitlines()[-5:]
    summary = read_run(Path("outputs/my run"))
    users = pq.read_table("outputs/my run/predictions.parquet")["user"].unique()
    assert table[0] == f"21 examples of {len(users)} users; 95 % intervals, users resampled"
    assert [line.split()[0] for line in table[1:]] == sorted(summary.metrics)
    for name, interval in summary.intervals.items():
        assert interval is not None
        low, high = interval
        assert f"{name.ljust(16)}  {summary.metrics[name]:.4f}  [{low:.4f}, {high:.4f}]" in table
    run("validate", "run", settings, *here, "--ckpt_path", "best", "--verbose", "false")
    assert "%" not in capsys.readouterr().out


def test_one_user_has_no_interval() -> None:
    """Hits at ranks 0 and 3 of 0-based ranks: mrr (1 + 1/4) / 2."""
    ranks = HeldOut(np.array([0, 1]), np.array([0, 0]), np.array([0, 3]))
    assert _table({"test/mrr": 0.625}, ranks, "test/", ["u"]) == "2 examples of 1 user\ntest/mrr  0.6250"


@pytest.mark.parametrize(
    ("trainer", "reason"),
    [
        ({"max_epochs": 2, "current_epoch": 2}, "trainer.max_epochs 2 reached"),
        ({"should_stop": True, "stopped_by": "early"}, "EarlyStopping stopped it. val/mrr did not improve."),
        ({"should_stop": True, "stopped_by": "time"}, "trainer.max_time is over"),
        ({"should_stop": True, "stopped_by": "alarm"}, "CollapseAlarm stopped it"),
        ({"should_stop": True, "stopped_by": "other"}, "a callback stopped it"),
    ],
)
def test_the_reason_is_the_one_that_holds(trainer: dict[str, Any], reason: str) -> None:
    early, timer, alarm = EarlyStopping("val/mrr"), Timer(timedelta(hours=1)), CollapseAlarm()
    stopped_by = trainer.pop("stopped_by", None)
    if stopped_by == "early":
        early.stopping_reason_message = "val/mrr did not improve. Signaling Trainer to stop."
    if stopped_by == "time":
        timer._offset = 3601
    alarm.stopped = stopped_by == "alarm"
    defaults = {"max_steps": -1, "global_step": 7, "max_epochs": -1, "current_epoch": 0, "should_stop": False}
    state = SimpleNamespace(**{**defaults, "callbacks": [early, timer, alarm], **trainer})
    assert fit_summary._reason(state) == reason


def test_without_a_validation_there_is_no_best_and_the_message_says_so(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    settings["trainer"].update(val_check_interval=100, max_steps=4)
    run("fit", "run", settings)
    out = capsys.readouterr().out
    assert "best:   none, since no validation ran; a smaller trainer.val_check_interval brings one" in out
    assert out.splitlines()[-1].endswith("--ckpt_path last")
    with pytest.raises(SystemExit) as ended:
        run("test", "run", settings, "--ckpt_path", "best")
    assert ended.value.code == 2
    line = one_line(capsys.readouterr().err)
    assert "no validation ran before step 4, so there is no outputs/tiny/run/checkpoints/best.ckpt" in line
    assert "take --ckpt_path last, or train with a smaller trainer.val_check_interval" in line


def test_float16_is_named_where_it_is_too_small(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder, train_in_low_precision=True)
    settings["trainer"].update(
        precision="16-true",
        max_steps=4,
        callbacks=[{"class_path": f"tests.cli.{BreakLoss.__name__}", "init_args": {"after_step": 1}}],
    )
    with pytest.raises(SystemExit) as ended:
        run("fit", "run", settings)
    assert ended.value.code == 2
    line = one_line(capsys.readouterr().err)
    assert "float16 holds nothing above 65,504, and trainer.precision is 16-true" in line
    assert "trainer.precision bf16-mixed or 32-true" in line


def checkpoint(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    return content


def standing_still(settings: dict[str, Any], **model: Any) -> dict[str, Any]:
    """A step at rate 0: what it ends with is what it started from."""
    settings["trainer"]["max_steps"] = 1
    settings["model"]["init_args"].update(model)
    settings["model"]["init_args"]["optimizer"]["init_args"] = {"lr": 0.0}
    return settings


def test_another_rate_is_a_run_that_starts_from_the_weights(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of supervised training, and of preference training, whose reference stays stage 1."""
    monkeypatch.chdir(tmp_path)

    def same(first: Path, second: Path) -> bool:
        ours, theirs = weights(first), weights(second)
        return all(torch.equal(ours[name], theirs[name]) for name in ours)

    short = {"max_steps": 2, "val_check_interval": 2}
    sft = supervised(tiny_folder)
    sft["trainer"].update(short)
    start = run("fit", "sft", sft) / "checkpoints/best.ckpt"
    slower = run("fit", "sft_slower", standing_still(supervised(tiny_folder), init_from=str(start)))
    assert same(start, slower / "checkpoints/last.ckpt")

    trained = config(tiny_folder, init_from="sft")
    trained["trainer"].update(short)
    dmpo = run("fit", "dmpo", trained)
    assert not same(start, dmpo / "checkpoints/best.ckpt")
    again = standing_still(config(tiny_folder, init_from="sft"), policy_from="dmpo")
    slower = run("fit", "dmpo_slower", again)
    assert same(dmpo / "checkpoints/best.ckpt", slower / "checkpoints/last.ckpt")
    assert checkpoint(slower)["reference"] == checkpoint(dmpo)["reference"]


def test_setup_says_what_it_does_and_nothing_else(tmp_path: Path) -> None:
    """With a Python that installs nothing."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "requirements.lock").write_text("# comment\na==1\nb==2\n")
    python = tmp_path / "python3"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '  --version) echo "Python 3.11.7";;\n'
        '  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python;;\n'
        "esac\n"
    )
    python.chmod(0o755)
    # `make test` may run this: a make within make says which folder it enters.
    command = ["make", "--no-print-directory", "setup", f"PYTHON={python}"]
    first = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert re.fullmatch(
        r"making \.venv with Python 3\.11\.7 and installing the 2 packages .*: a few minutes", first[0]
    )
    assert first[1:] == ["installed in .venv: source .venv/bin/activate"]
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "installing" not in again
