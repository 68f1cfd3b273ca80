"""What the README says is run: its commands on the small data set, its Python as it stands."""

import re
import shutil
from pathlib import Path

import pytest

from lightning_modules.cli import main
from tests.forked import run_python

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

COMMANDS = [
    line.removeprefix("python train.py ").split("#")[0].split()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python train.py ")
]


MODULES = re.findall(r"^python (-m (?:datamodules|study)\..*)$", README, re.MULTILINE)


def small(arguments: list[str], tiny_folder: Path) -> list[str]:
    """The same command on the small data set, a few steps long."""
    if any("help" in argument for argument in arguments):
        return arguments
    settings = {
        "data.source": "datamodules.sources.RecBoleSource",
        "data.source.path": str(tiny_folder),
        "data.max_val_examples": "8",
        "data.max_test_examples": "8",
        "data.batch_size": "4",
        "trainer.enable_progress_bar": "false",
    }
    if arguments[0] == "fit":
        steps = "4" if "--ckpt_path" not in arguments else "6"
        settings |= {"trainer.max_steps": steps, "trainer.val_check_interval": "2"}
        settings["last_checkpoint.every_n_train_steps"] = "2"
    return [*arguments, *(f"--{name}={value}" for name, value in settings.items())]


def test_every_command_runs_in_the_readmes_order(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    assert len(COMMANDS) >= 10
    for arguments in COMMANDS:
        if "--help" in arguments or any(argument.endswith(".help") for argument in arguments):
            with pytest.raises(SystemExit) as caught:
                main(arguments)
            assert caught.value.code == 0
        else:
            main(small(arguments, tiny_folder))
    assert len(MODULES) >= 2
    for line in MODULES:
        result = run_python(*line.replace("cache/ml-100k", str(tiny_folder)).split(), cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
    folder = tmp_path / "outputs/quickstart/dynamicpo"
    names = {"checkpoints", "config.yaml", "metrics.csv", "predictions.parquet", "wandb"}
    assert names <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_python_runs(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


def test_every_file_it_names_is_there() -> None:
    names = set(
        re.findall(r"`((?:losses|datamodules|lightning_modules|callbacks|configs|study)/[\w./]*)`", README)
    )
    names |= set(re.findall(r"\]\(((?!http)[^)]+)\)", README))
    assert len(names) > 10
    assert [name for name in names if not (ROOT / name).exists()] == []
