"""Every config that runs here is run through the real command line, on the small data set, for a few steps."""

import shutil
from pathlib import Path

import pytest
import yaml

from lightning_modules.cli import main

ROOT = Path(__file__).parents[1]
OVERLAYS = {"csv.yaml", "wandb_online.yaml", "ddp.yaml", "generation.yaml"}
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.name not in OVERLAYS)


def small(settings: dict, tiny_folder: Path) -> dict:
    """The same config with the small data set in place and two steps long."""
    data = settings["data"]["init_args"]
    data["source"] = {
        "class_path": "datamodules.sources.RecBoleSource",
        "init_args": {"path": str(tiny_folder)},
    }
    data.update(batch_size=4, max_val_examples=8, max_test_examples=8)
    settings["wandb"] = {"mode": "disabled"}
    trainer = settings.setdefault("trainer", {})
    trainer["enable_progress_bar"] = False
    if "max_steps" in trainer:
        trainer.update(max_steps=2, val_check_interval=2)
    if "init_from" in settings["model"].get("init_args", {}):
        settings["model"]["init_args"]["init_from"] = None
    return settings


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_a_config_trains_and_tests(path: Path, tiny_folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = small(yaml.safe_load(path.read_text()), tiny_folder)
    copy = tmp_path / path.relative_to(ROOT)
    copy.parent.mkdir(parents=True)
    copy.write_text(yaml.safe_dump(settings))
    folder = tmp_path / "outputs" / path.relative_to(ROOT / "configs").with_suffix("")
    checkpoint = []
    if "max_steps" in settings["trainer"]:
        main(["fit", "--config", str(copy.relative_to(tmp_path))])
        checkpoint = ["--ckpt_path", "best"]
    main(["test", "--config", str(copy.relative_to(tmp_path)), *checkpoint])
    assert "test/hit_ratio@1" in (folder / "metrics.csv").read_text()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_a_config_says_how_it_is_run(path: Path) -> None:
    """The header holds the command with the config's own path, and the table of configs has a row for it."""
    name = path.relative_to(ROOT)
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"--config {name}" in line for line in header)
    assert str(path.relative_to(ROOT / "configs")) in (ROOT / "configs/README.md").read_text()


def test_overlays_leave_the_runs_folder_to_the_config(tiny_folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    settings = small(yaml.safe_load((ROOT / "configs/quickstart/dmpo.yaml").read_text()), tiny_folder)
    del settings["wandb"]
    (tmp_path / "configs/quickstart/dmpo.yaml").write_text(yaml.safe_dump(settings))
    main(["fit", "--config", "configs/quickstart/dmpo.yaml", "--config", "configs/csv.yaml"])
    folder = tmp_path / "outputs/quickstart/dmpo"
    assert not (folder / "wandb").exists()
    assert (folder / "metrics.csv").is_file()
