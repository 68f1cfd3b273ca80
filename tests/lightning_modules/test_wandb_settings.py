"""The environment's W&B variables count where the config says nothing; one that is overruled or nonsense is named."""

import logging
from pathlib import Path

import pytest

from datamodules.errors import InputError
from lightning_modules.wandb_settings import WandbChoice, WandbSettings, choose
from tests.cli import config, run


@pytest.mark.parametrize(
    ("settings", "environment", "holds", "told"),
    [
        ({}, {}, ("offline", "dynamicpo", "a-b"), ""),
        (
            {},
            {
                "WANDB_MODE": "online",
                "WANDB_PROJECT": "p",
                "WANDB_NAME": "n",
                "WANDB_TAGS": "x,y",
                "OTHER": "1",
            },
            ("online", "p", "n"),
            "",
        ),
        (
            {"mode": "online", "project": "mine", "name": "n"},
            {"WANDB_MODE": "disabled", "WANDB_PROJECT": "p", "WANDB_NAME": "n"},
            ("online", "mine", "n"),
            "WANDB_MODE=disabled is ignored: wandb.mode is online\n"
            "WANDB_PROJECT=p is ignored: wandb.project is mine",
        ),
        ({}, {"WANDB_DISABLED": "true"}, ("disabled", "dynamicpo", "a-b"), ""),
        ({}, {"WANDB_DISABLED": "false", "WANDB_MODE": ""}, ("offline", "dynamicpo", "a-b"), ""),
        (
            {},
            {"WANDB_RUN_ID": "abc", "WANDB_DIR": "/d", "WANDB_RESUME": "must"},
            ("offline", "dynamicpo", "a-b"),
            "\n".join(
                f"{name} is ignored: a run's W&B files and id are those of its folder"
                for name in ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_RESUME")
            ),
        ),
        # who wants no W&B is not bothered with it
        (
            {"mode": "disabled"},
            {"WANDB_MODE": "foo", "WANDB_DIR": "/d"},
            ("disabled", "dynamicpo", "a-b"),
            "",
        ),
    ],
)
def test_what_holds(caplog, settings: dict, environment: dict, holds: tuple, told: str) -> None:
    caplog.set_level(logging.INFO)
    assert choose(WandbSettings(**settings), environment, "a-b") == WandbChoice(*holds)
    assert "\n".join(record.getMessage() for record in caplog.records) == told


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "WANDB_MODE",
            "foo",
            "WANDB_MODE is 'foo' in the environment: set offline, online, disabled, or unset it",
        ),
        ("WANDB_RESUME", "yes", "WANDB_RESUME is 'yes' in the environment, which W&B does not take .*'must'"),
        ("WANDB_INIT_TIMEOUT", "long", "WANDB_INIT_TIMEOUT is 'long' .*valid number"),
        ("WANDB_RUN_ID", "a/b", "WANDB_RUN_ID is 'a/b' .*cannot contain"),
    ],
)
def test_nonsense_is_named(variable: str, value: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        choose(WandbSettings(mode="offline"), {variable: value}, "a-b")


def test_the_command_line_reads_the_environment(
    tiny_folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Nonsense ends the run before it begins; `disabled` makes one without W&B."""
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    del settings["wandb"]
    settings["trainer"].update(max_steps=1, val_check_interval=1)
    monkeypatch.setenv("WANDB_MODE", "foo")
    with pytest.raises(SystemExit):
        run("fit", "env", settings)
    assert "error: WANDB_MODE is 'foo' in the environment" in capsys.readouterr().err
    assert not Path("outputs").exists()
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder = run("fit", "env", settings)
    assert not (folder / "wandb").exists()
