"""Ctrl-C, a closed terminal and a scheduler's request: what is saved, what is said, with which status a run ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import yaml

from lightning_modules.checkpoint_files import read_whole
from tests.cli import config, run

ROOT = Path(__file__).parents[2]
STATUS = {signal.SIGINT: 130, signal.SIGHUP: 129, signal.SIGTERM: 143, signal.SIGUSR1: 143}


class Signals(pl.Callback):
    """Sends a signal to this process at a hook, a number of times."""

    def __init__(self, hook: str, number: int, count: int = 1) -> None:
        self._number, self._left = number, count
        setattr(self, hook, self._reached)

    def _reached(self, *_: Any, **__: Any) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)


def signalled(settings: dict[str, Any], *arguments: Any) -> dict[str, Any]:
    names = dict(
        zip(("hook", "number", "count"), (arguments[0], int(arguments[1]), *arguments[2:]), strict=False)
    )
    path = "tests.callbacks.test_termination.Signals"
    settings["trainer"]["callbacks"] = [{"class_path": path, "init_args": names}]
    return settings


@pytest.fixture(autouse=True)
def _as_from_a_keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What starts the tests in the background ignores Ctrl-C, and its children with it."""
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in STATUS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    ours = {number: signal.getsignal(number) for number in STATUS}
    yield
    found = {number: signal.getsignal(number) for number in STATUS}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert found in (ours, {**ours, signal.SIGHUP: signal.SIG_IGN}), "a run leaves its handlers behind"


def status_of(subcommand: str, settings: dict[str, Any], *args: str) -> Any:
    with pytest.raises(SystemExit) as caught:
        run(subcommand, "ended", settings, *args)
    return caught.value.code


def slowly(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGHUP, slowly(signal.SIGTERM), slowly(signal.SIGUSR1)]
)
def test_the_step_in_hand_is_finished_and_saved(tiny_folder: Path, capsys, number: signal.Signals) -> None:
    """The request comes in the fourth step, after which no checkpoint would be due."""
    settings = signalled(config(tiny_folder), "on_before_optimizer_step", number, 4)
    assert status_of("fit", settings) == STATUS[number]
    assert "asked to stop after step 4: go on with --ckpt_path last\n" in capsys.readouterr().out
    assert read_whole("outputs/tiny/ended/checkpoints/last.ckpt")["global_step"] == 4


def test_what_was_started_to_ignore_a_signal_goes_on_ignoring_it(tiny_folder: Path) -> None:
    """As `nohup` starts it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    folder = run("fit", "nohup", signalled(config(tiny_folder), "on_train_batch_start", signal.SIGHUP, 2))
    assert read_whole(folder / "checkpoints/last.ckpt")["global_step"] == 12


def test_going_on_is_not_advised_where_nothing_could_be_saved(tiny_folder: Path, capsys) -> None:
    """A full device stands in the way of every checkpoint."""
    settings = signalled(config(tiny_folder), "on_before_optimizer_step", signal.SIGINT, 4)
    settings["trainer"]["callbacks"].append(
        {
            "class_path": "tests.lightning_modules.test_checkpoint_files.NoRoom",
            "init_args": {"until_step": 99},
        }
    )
    with pytest.warns(UserWarning, match="No space left on device"):
        assert status_of("fit", settings) == 130
    captured = capsys.readouterr()
    assert "asked to stop after step 4: no checkpoint could be written, start over\n" in captured.out
    assert "ckpt_path" not in captured.out + captured.err


@pytest.mark.slow
def test_a_later_step_that_could_not_be_saved_is_said(tiny_folder: Path, capsys) -> None:
    """Step 3 was saved before the device was full."""
    settings = signalled(config(tiny_folder), "on_before_optimizer_step", signal.SIGHUP, 5)
    settings["trainer"]["callbacks"].append(
        {
            "class_path": "tests.lightning_modules.test_checkpoint_files.NoRoom",
            "init_args": {"until_step": 99, "from_step": 4},
        }
    )
    with pytest.warns(UserWarning, match="No space left on device"):
        assert status_of("fit", settings) == 129
    expected = (
        "asked to stop after step 5: go on with --ckpt_path last, from step 3, the last that could be saved"
    )
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "hook"),
    [(signal.SIGINT, "setup"), (signal.SIGHUP, "on_fit_start"), slowly(signal.SIGTERM, "setup")],
)
def test_before_training_there_is_nothing_to_save(
    tiny_folder: Path, capsys, number: signal.Signals, hook: str
) -> None:
    assert status_of("fit", signalled(config(tiny_folder), hook, number)) == STATUS[number]
    captured = capsys.readouterr()
    assert "ckpt_path" not in captured.out + captured.err
    assert "Traceback" not in captured.err
    assert not Path("outputs/tiny/ended/checkpoints").exists()


@pytest.mark.parametrize(
    ("subcommand", "number"),
    [slowly("test", signal.SIGINT), ("predict", signal.SIGINT), slowly("validate", signal.SIGTERM)],
)
def test_an_evaluation_ends_at_once(tiny_folder: Path, subcommand: str, number: signal.Signals) -> None:
    hook = {"test": "test", "predict": "predict", "validate": "validation"}[subcommand]
    settings = signalled(config(tiny_folder), f"on_{hook}_batch_start", number)
    assert status_of(subcommand, settings) == STATUS[number]
    assert not Path("outputs/tiny/ended/predictions.parquet").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_ctrl_c_while_everything_is_imported_prints_no_traceback(tmp_path: Path, seconds: float) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "fit", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate()
    assert started.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.slow
def test_ctrl_c_under_torchrun_saves_once(tiny_folder: Path, tmp_path: Path) -> None:
    """It passes the signal of the terminal on to its processes, which are in sessions of their own."""
    settings = config(tiny_folder)
    settings["trainer"].update(max_steps=100_000, val_check_interval=100_000)
    settings["last_checkpoint"]["every_n_train_steps"] = 1
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(ROOT / "train.py")]
    command += ["fit", "--config", "run.yaml", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "said.txt").open("w") as said:
        started = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
        while not Path("outputs/run/checkpoints/last.ckpt").exists() and started.poll() is None:
            time.sleep(0.2)  # only how often is looked; nothing depends on it
        os.killpg(started.pid, signal.SIGINT)
        started.wait()
    text = (tmp_path / "said.txt").read_text()
    step = read_whole("outputs/run/checkpoints/last.ckpt")["global_step"]
    assert f"asked to stop after step {step}: go on with --ckpt_path last" in text
    assert 'train.py", line' not in text, "only torchrun itself prints a traceback"
