"""What a terminal shows while a run goes on, and what a file gets instead."""

import io
import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

import lightning_modules.cli as command_line
from callbacks import ProgressLines
from tests.cli import config, run, supervised

LOGGER = logging.getLogger("tests.progress")


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """What each line holds in the end: a carriage return lets what follows overwrite it."""
        return [line.rpartition("\r")[2] for line in re.sub(r"\r\s*\r", "\r", self.getvalue()).split("\n")]


class Talks(pl.Callback):
    """Logs and warns in the middle of training, and dies."""

    def __init__(self, dies_after: int = -1) -> None:
        self.dies_after = dies_after

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == 3:
            LOGGER.warning("a message of a logger")
            warnings.warn("a warning", stacklevel=1)
        if trainer.global_step == self.dies_after:
            raise RuntimeError("crash")


def attached(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Puts a terminal in place of pytest's own streams, which it sets anew before every test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    return stream


def talking(settings: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    del settings["trainer"]["enable_progress_bar"]
    settings["trainer"]["callbacks"] = [
        {"class_path": "tests.callbacks.test_progress.Talks", "init_args": arguments}
    ]
    return settings


def test_messages_stand_above_the_bar_and_a_resumed_bar_starts_where_it_stopped(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal = attached(monkeypatch)
    settings = talking(config(tiny_folder, reference_cache="cache"), dies_after=8)
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "run", settings)
    terminal.write("error: crash\n")
    lines = terminal.lines()
    for message in ("a message of a logger", "error: crash"):
        assert message in lines
    assert any(line.endswith("UserWarning: a warning") and "steps/s" not in line for line in lines)
    (validation,) = [line for line in lines if "val/mrr" in line]
    assert validation.startswith("step 6: train/loss ")
    bars = [line for line in lines if "steps/s" in line or "batches/s" in line or "Validation" in line]
    assert "Reference: " in terminal.getvalue()
    assert len(bars) == 1, "one bar is left behind, the one that the crash closed"
    assert re.match(r"Epoch 0: +50%\|.*\| 6/12 \[.*, train/loss=\d+\.\d{4}\]", bars[0])

    terminal.seek(0)
    terminal.truncate()
    run("fit", "run", talking(config(tiny_folder, reference_cache="cache")), "--ckpt_path", "last")
    counts = [int(count) for count in re.findall(r"\| (\d+)/12 \[", terminal.getvalue())]
    assert counts == sorted(counts)
    assert counts[0] == 6
    assert counts[-1] == 12
    assert "0/?" not in terminal.getvalue()


def test_a_file_gets_lines_and_no_bar(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_line, "progress", lambda: ProgressLines(seconds=0.0))
    settings = supervised(tiny_folder)
    del settings["trainer"]["enable_progress_bar"]
    run("fit", "run", {**settings, "trainer": {**settings["trainer"], "max_steps": 6}})
    out, err = capsys.readouterr()
    assert "\r" not in out + err
    shown = re.findall(
        r"^step (\d+) of 6, [\d.]+ steps/s, 00:0\d left, train/loss \d+\.\d{4}$", out, re.MULTILINE
    )
    assert shown == ["2", "4", "6"]


def test_no_bar_means_no_bar_of_the_reference_either(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal = attached(monkeypatch)
    settings = config(tiny_folder, reference_cache="cache")
    settings["trainer"]["max_steps"] = 1
    run("fit", "run", settings)
    assert terminal.getvalue()
    assert "\r" not in terminal.getvalue()
