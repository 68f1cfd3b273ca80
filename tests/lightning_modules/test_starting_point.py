"""Preference training from an adapter that plain PEFT wrote."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from datamodules.errors import InputError
from datamodules.tokenization import learn_tokenizer, load_tokenizer
from lightning_modules import LoRA, PreferenceModule, PretrainedLM
from lightning_modules.starting_point import starting_state
from losses import DMPO
from tests.cli import config, run, weights
from tests.conftest import tiny_titles

TARGETS = ["q_proj", "v_proj"]


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base in `llama/` and an adapter in `adapter/`, whose file says that the base is `somewhere/llama`."""
    monkeypatch.chdir(tmp_path)
    tokenizer = learn_tokenizer(tiny_titles().values())
    tokenizer.save_pretrained("llama")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained("llama")
    base = AutoModelForCausalLM.from_pretrained("llama")
    adapted = get_peft_model(
        base, LoraConfig(r=2, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM")
    )
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained("adapter")
    edit(base_model_name_or_path="somewhere/llama")
    return Path("adapter")


def edit(**changes: Any) -> None:
    path = Path("adapter/adapter_config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def settings(tiny_folder: Path, **lora: Any) -> dict[str, Any]:
    """Three steps at a learning rate of 0 from the adapter."""
    made = config(
        tiny_folder,
        init_from="./adapter",
        lora={"rank": 2, "alpha": 8, "target_modules": TARGETS, **lora},
        language_model={"class_path": "lightning_modules.PretrainedLM", "init_args": {"name": "llama"}},
        optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.0, "weight_decay": 0.0}},
    )
    made["data"]["init_args"]["tokenizer"] = "llama"
    made["trainer"].update(max_steps=3, val_check_interval=3)
    return made


def as_pickle(adapter: Path) -> None:
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()


@pytest.mark.parametrize("pickled", [False, True])
def test_training_starts_from_it(tiny_folder: Path, adapter: Path, pickled: bool) -> None:
    expected = load_file(adapter / "adapter_model.safetensors")
    if pickled:
        as_pickle(adapter)
    found = weights(run("fit", "dmpo", settings(tiny_folder)) / "checkpoints/last.ckpt")
    assert len(found) == len(expected) == 4
    for name, value in found.items():
        plain_name = name.removeprefix("policy.").replace(".policy.", ".")
        assert torch.equal(value, expected[plain_name])


def test_an_own_export_is_such_an_adapter(tiny_folder: Path, adapter: Path) -> None:
    exporting = settings(tiny_folder)
    exporting["trainer"]["callbacks"] = [{"class_path": "callbacks.AdapterExport"}]
    exported = run("fit", "first", exporting) / "adapter"
    again = settings(tiny_folder)
    again["model"]["init_args"]["init_from"] = str(exported)
    folder = run("fit", "second", again)
    first, second = (weights(each / "checkpoints/last.ckpt") for each in (exported.parent, folder))
    assert all(torch.equal(first[name], second[name]) for name in first)
    base = AutoModelForCausalLM.from_pretrained("llama")
    assert PeftModel.from_pretrained(base, exported).peft_config["default"].r == 2
    recorded = json.loads((exported / "adapter_config.json").read_text())
    assert recorded["base_model_name_or_path"] == str(Path("llama").resolve())


def test_an_own_export_may_adapt_the_embeddings(tiny_folder: Path, adapter: Path) -> None:
    exporting = settings(tiny_folder, target_modules=["q_proj", "embed_tokens"])
    exporting["model"]["init_args"].update(init_from=None)
    exporting["trainer"]["callbacks"] = [{"class_path": "callbacks.AdapterExport"}]
    exported = run("fit", "first", exporting) / "adapter"
    again = settings(tiny_folder, target_modules=["q_proj", "embed_tokens"])
    again["model"]["init_args"]["init_from"] = str(exported)
    first, second = (
        weights(each / "checkpoints/last.ckpt") for each in (exported.parent, run("fit", "second", again))
    )
    assert any("lora_embedding_A" in name for name in first)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("changes", "lora", "message"),
    [
        ({"base_model_name_or_path": "meta-llama/Llama-2-7b-hf"}, {},
         "adapter is an adapter for base 'meta-llama/Llama-2-7b-hf' and the language model is "),
        ({"base_model_name_or_path": None}, {}, "adapter is an adapter for base '' and"),
        ({}, {"rank": 4}, "lora_rank is 2 there and 4 here"),
        ({}, {"alpha": 32}, "lora_alpha is 8 there and 32 here"),
        ({}, {"target_modules": ["q_proj"]}, "lora_target_modules is ['q_proj', 'v_proj'] there and ['q_proj'] here"),
        ({"use_dora": True}, {}, "use_dora is True there and False here"),
        ({"peft_type": "IA3"}, {}, "peft_type is 'IA3' there and 'LORA' here"),
    ],
)  # fmt: skip
def test_another_adapter_is_refused(adapter: Path, changes: dict, lora: dict, message: str) -> None:
    edit(**changes)
    assert message in refusal(**lora)


def test_an_adapter_for_a_base_of_other_sizes_is_refused(adapter: Path) -> None:
    state = load_file(adapter / "adapter_model.safetensors")
    torch.save({name: torch.zeros(3, 5) for name in state}, adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    assert "4 weights differ" in refusal()


def test_a_pickle_that_runs_code_is_refused(adapter: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return Path.touch, (Path("ran"),)

    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Evil(), protocol=2))
    assert "adapter/adapter_model.bin is no readable checkpoint" in refusal()
    assert not Path("ran").exists()


def test_a_folder_that_is_no_adapter_is_refused(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(b"torn")
    assert "adapter_model.safetensors is no readable adapter" in refusal()
    (adapter / "adapter_model.safetensors").unlink()
    assert "holds neither" in refusal()
    (adapter / "adapter_config.json").unlink()
    assert "adapter holds no readable adapter_config.json" in refusal()


def test_the_command_line_says_so_in_one_line(tiny_folder: Path, adapter: Path, capsys) -> None:
    whole = settings(tiny_folder)
    del whole["model"]["init_args"]["lora"]
    with pytest.raises(SystemExit) as caught:
        run("fit", "refused", whole)
    assert caught.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line == "error: adapter is an adapter and the model has none: set model.init_args.lora"


def refusal(**lora: Any) -> str:
    adapters = LoRA(**{"rank": 2, "alpha": 8, "target_modules": TARGETS, **lora})
    module = PreferenceModule(PretrainedLM("llama"), DMPO(), torch.optim.AdamW, lora=adapters)
    module.policy = adapters.apply(module.language_model.build(load_tokenizer("llama")))
    with pytest.raises(InputError) as caught:
        starting_state(module, {}, "adapter")
    assert "\n" not in str(caught.value)
    return str(caught.value)
