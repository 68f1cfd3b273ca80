"""What docs/models.md says is run: every snippet as an overlay, on a tiny model with the name of the page's."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from lightning_modules.cli import main
from tests.lightning_modules.architectures import save_tiny
from tests.test_readme import ROOT, small

PAGE = (ROOT / "docs/models.md").read_text()
NAME = "Qwen/Qwen2.5-0.5B-Instruct"
BY_NAME, *OTHERS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
QUANTISED = [text for text in OTHERS if "bitsandbytes" in text]


def fit(overlays: list[str], tiny_folder: Path) -> None:
    """Trains stage 1 for a few steps in the working directory, under the page's model and these overlays."""
    shutil.copytree(ROOT / "configs", "configs")
    save_tiny("qwen2.5", Path(NAME), hidden_size=64, intermediate_size=128)  # a folder of the hub's name
    arguments = ["fit", "--config", "configs/smollm2/sft.yaml"]
    for number, text in enumerate([BY_NAME, *overlays]):
        path = Path(f"overlay-{number}.yaml")
        path.write_text(text)
        arguments += ["--config", str(path)]
    main([*small(arguments, tiny_folder), "--data.max_length=1024", "--trainer.log_every_n_steps=2"])


def test_the_snippets_run_together(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(OTHERS) == 5
    assert BY_NAME.count(NAME) == 2
    assert len(QUANTISED) == 1
    fit([text for text in OTHERS if text not in QUANTISED], tiny_folder)
    run = Path("outputs/smollm2/sft")
    record = (run / "config.yaml").read_text()
    for setting in ("chat: true", "gradient_checkpointing: true", f"name: {NAME}", "rank: 8"):
        assert setting in record
    assert "throughput/tokens_per_second" in (run / "metrics.csv").read_text()
    assert (run / "adapter/adapter_model.safetensors").is_file()


def test_four_bits(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Trained where bitsandbytes is; elsewhere one line says what is missing."""
    monkeypatch.chdir(tmp_path)
    if find_spec("bitsandbytes") is not None:
        fit(QUANTISED, tiny_folder)
        return
    without = re.sub(r"\n *optimizer: .*", "", QUANTISED[0])
    with pytest.raises(SystemExit) as caught:
        fit([without], tiny_folder)
    assert caught.value.code == 2
    assert "the extra `quantised`: pip install 'bitsandbytes>=0.50'" in capsys.readouterr().err


def test_every_file_it_names_is_there() -> None:
    names = [*re.findall(r"`(configs/[\w./]+)`", PAGE)]
    names += [f"docs/{name}" for name in re.findall(r"\]\(((?!http)[^)]+)\)", PAGE)]
    assert len(names) >= 3
    assert [name for name in names if not (ROOT / name).exists()] == []
