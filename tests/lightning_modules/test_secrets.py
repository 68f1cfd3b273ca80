"""What is secret stays where it was."""

import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import config, end_wandb, run

KEY, TOKEN, PASSWORD = "0123456789abcdef" * 2 + "01234567", "hf_PlantedPlantedPlanted", "ghp_PlantedPassword"


def _contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file's bytes, and those of what an archive holds."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        yield path / name, archive.read(name)


def test_no_byte_of_a_run_holds_a_secret(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Keys in the environment, a password in the address that git pulls from."""
    end_wandb()  # W&B's service has the environment of its start
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    subprocess.run(["git", "init", "--quiet"], check=True)
    address = f"https://someone:{PASSWORD}@example.org/project.git"
    subprocess.run(["git", "remote", "add", "origin", address], check=True)
    settings = config(tiny_folder)
    settings["wandb"]["mode"] = "offline"
    folder = run("fit", "secret", settings)
    end_wandb()

    searched = 0
    for path, content in _contents(folder):
        searched += 1
        for secret in (KEY, TOKEN, PASSWORD):
            assert secret.encode() not in content, f"{secret} in {path}"
    assert searched > 20
    assert list(folder.glob("wandb/*/*.wandb"))
    printed = "".join(capfd.readouterr())
    assert not any(secret in printed for secret in (KEY, TOKEN, PASSWORD))
