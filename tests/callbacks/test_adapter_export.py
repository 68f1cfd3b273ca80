"""Exported folders, loaded by plain `peft` and `transformers`, against the checkpoint they came from."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from peft import AutoPeftModelForCausalLM
from safetensors import safe_open
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from callbacks.model_card import CardFacts, model_card
from datamodules import RecommendationDataModule
from datamodules.batches import Batch
from datamodules.errors import InputError
from datamodules.packing import pack
from datamodules.prompt_settings import PromptSettings
from datamodules.sources import RecBoleSource
from lightning_modules import LoRA, PretrainedLM
from lightning_modules.export_check import ExportCheck, loaded_adapter, loaded_model
from lightning_modules.hand_over import require_portable, write_adapter
from lightning_modules.language_model import causal_lm
from tests.cli import config, run, supervised, weights


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def exporting(settings: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    callback = {"class_path": "callbacks.AdapterExport", "init_args": arguments}
    settings["trainer"]["callbacks"] = [callback]
    return settings


def first_batch(tiny_folder: Path) -> Batch:
    data = RecommendationDataModule(
        RecBoleSource(str(tiny_folder)), num_candidates=8, max_val_examples=16, max_test_examples=21
    )
    data.prepare_data()
    data.setup("test")
    return next(iter(data.test_dataloader()))


@torch.no_grad()
def plain_scores(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Log π(y | x) of every response, one unpadded forward each, in the order of the ids: shape [B, R]."""
    packed = batch.packed
    scores = torch.zeros(packed.token_mask.shape[:2])
    for row, column in torch.cartesian_prod(*map(torch.arange, scores.shape)).tolist():
        prompt = packed.input_ids[row][packed.segment_ids[row] == 0]
        answer = packed.target[row, column][packed.token_mask[row, column]]
        logits = model(input_ids=torch.cat([prompt, answer])[None]).logits[0, len(prompt) - 1 : -1]
        scores[row, column] = logits.log_softmax(-1).gather(1, answer[:, None]).sum()
    return scores[batch.id.argsort()]


def run_scores(folder: Path, name: str, settings: dict[str, Any]) -> Tensor:
    """What `train.py predict` writes of the best checkpoint, in the order of the prompts' lists."""
    run("predict", name, settings, "--ckpt_path", "best")
    return torch.tensor(pq.read_table(folder / "predictions.parquet")["scores"].to_pylist())


def by_rank(scores: Tensor) -> Tensor:
    return scores.sort(dim=1, descending=True).values


def test_an_adapter_loads_in_plain_peft_with_the_same_log_probs(tiny_folder: Path) -> None:
    settings = exporting(config(tiny_folder, lora={"rank": 2, "dropout": 0.0}), merged=True)
    folder = run("fit", "lora", settings)
    expected = run_scores(folder, "lora", settings)
    batch = first_batch(tiny_folder)
    adapted = AutoPeftModelForCausalLM.from_pretrained(folder / "adapter")
    found = by_rank(plain_scores(adapted, batch))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    merged = AutoModelForCausalLM.from_pretrained(folder / "model")
    torch.testing.assert_close(by_rank(plain_scores(merged, batch)), expected, rtol=0, atol=1e-5)
    with adapted.disable_adapter():
        untrained = by_rank(plain_scores(adapted, batch))
    assert (untrained - expected).abs().max() > 0.1, "the adapter does nothing, so that nothing was tested"


def test_a_whole_model_loads_in_plain_transformers_with_the_same_log_probs(tiny_folder: Path) -> None:
    settings = exporting(supervised(tiny_folder))
    folder = run("fit", "full", settings)
    expected = run_scores(folder, "full", settings)
    loaded = AutoModelForCausalLM.from_pretrained(folder / "model")
    found = by_rank(plain_scores(loaded, first_batch(tiny_folder)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not (folder / "adapter").exists()


@pytest.mark.parametrize(
    "targets", [["q_proj", "lm_head"], pytest.param(["embed_tokens"], marks=pytest.mark.slow)]
)
def test_an_adapter_of_tied_embeddings_changes_one_of_them_when_merged(
    tiny_folder: Path, targets: list[str]
) -> None:
    """The small model's vocabulary projection is its embeddings; in the written model they are two weights."""
    lora = {"rank": 2, "dropout": 0.0, "target_modules": targets}
    settings = exporting(config(tiny_folder, lora=lora), merged=True)
    folder = run("fit", "tied", settings)
    expected, batch = run_scores(folder, "tied", settings), first_batch(tiny_folder)
    merged = AutoModelForCausalLM.from_pretrained(folder / "model")
    torch.testing.assert_close(by_rank(plain_scores(merged, batch)), expected, rtol=0, atol=1e-5)
    adapted = AutoPeftModelForCausalLM.from_pretrained(folder / "adapter")
    torch.testing.assert_close(by_rank(plain_scores(adapted, batch)), expected, rtol=0, atol=1e-5)
    with adapted.disable_adapter():
        untrained = by_rank(plain_scores(adapted, batch))
    assert (untrained - expected).abs().max() > 0.1, "the adapter does nothing, so that nothing was tested"


def test_an_export_that_is_another_model_is_refused_and_the_old_one_stays(
    tiny_folder: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merged without being untied, the projection's adapter changes the embeddings too."""
    monkeypatch.setattr("lightning_modules.hand_over._untie", lambda model: None)
    Path("outputs/tiny/other/model").mkdir(parents=True)
    Path("outputs/tiny/other/model/old").touch()
    settings = exporting(config(tiny_folder, lora={"rank": 2, "target_modules": ["lm_head"]}), merged=True)
    with pytest.raises(SystemExit) as caught:
        run("fit", "other", settings)
    assert caught.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(
        "error: outputs/tiny/other/model is not exported, since its log-probabilities differ"
    )
    assert line.endswith("leave merged out and export the adapter alone")
    assert [path.name for path in Path("outputs/tiny/other/model").iterdir()] == ["old"]
    assert (Path("outputs/tiny/other/adapter") / "adapter_model.safetensors").is_file()


def test_a_base_and_its_adapter_are_replaced_together_or_not_at_all(
    tiny_folder: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter whose weights are written twice as large as they are."""
    folder = run("fit", "pair", exporting(config(tiny_folder, lora={"rank": 2})))
    before = {path: path.stat().st_mtime_ns for path in folder.glob("[ab]*/*")}
    assert before

    def enlarged(*arguments: Any) -> None:
        write_adapter(
            *arguments[:1], {name: 2 * value for name, value in arguments[1].items()}, *arguments[2:]
        )

    monkeypatch.setattr("callbacks.adapter_export.write_adapter", enlarged)
    longer = ("--ckpt_path", "last", "--trainer.max_steps", "14")
    with pytest.raises(SystemExit):
        run("fit", "pair", exporting(config(tiny_folder, lora={"rank": 2})), *longer)
    assert "outputs/tiny/pair/adapter is not exported, since its log-prob" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.glob("[ab]*/*")} == before


def test_a_quantised_base_is_not_loaded_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The written adapter is laid over the base in memory; afterwards the policy is what it was."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    policy = LoRA(rank=2).apply(LlamaForCausalLM(LlamaConfig(vocab_size=32, **sizes)))
    causal_lm(policy).is_quantized = True  # as transformers marks a model that bitsandbytes has quantised
    state = {
        name: torch.randn_like(weight) for name, weight in policy.named_parameters() if weight.requires_grad
    }
    write_adapter(policy, state, "base", None, tmp_path)
    tokens = np.arange(6, dtype=np.int32)
    check = ExportCheck.of(policy, state, pack([tokens], [[tokens[:2], tokens[3:]]]))
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    assert check.require_same(tmp_path, loaded_adapter(tmp_path, policy, "nowhere", None), "") < 1e-6
    after = policy.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert policy.active_adapter == "policy"
    other = ExportCheck.of(policy, {name: value + 1 for name, value in state.items()}, check.packed)
    with pytest.raises(InputError, match="log-probabilities differ from the run's by up to"):
        other.require_same(tmp_path, loaded_adapter(tmp_path, policy, "nowhere", None), "")


def test_flex_attention_is_left_for_the_check(tmp_path: Path) -> None:
    """It is made for CUDA, and on a CPU it would be compiled first."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    policy = LlamaForCausalLM(
        LlamaConfig(vocab_size=32, attn_implementation="flex_attention", **sizes)
    ).train()
    policy.save_pretrained(tmp_path)
    tokens = np.arange(6, dtype=np.int32)
    check = ExportCheck.of(policy, policy.state_dict(), pack([tokens], [[tokens[:2], tokens[3:]]]))
    assert check.require_same(tmp_path, loaded_model(tmp_path, check.dtype), "") < 1e-6
    assert policy.config._attn_implementation == "flex_attention"
    assert policy.training


def test_the_layout_is_pefts_own(tiny_folder: Path) -> None:
    folder = run("fit", "lora", exporting(config(tiny_folder, lora={"rank": 2, "alpha": 7}))) / "adapter"
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "prompts.json", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["peft_type"]) == (2, 7, "LORA")
    assert settings["base_model_name_or_path"] == str(folder.resolve().parent / "base")
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        names = set(file.keys())
    trained = weights(folder.parent / "checkpoints/best.ckpt")
    assert names == {name.removeprefix("policy.").replace(".policy.", ".") for name in trained}
    assert not (folder.parent / "model").exists()
    assert PromptSettings.read(folder) == PromptSettings()
    assert AutoTokenizer.from_pretrained(folder).eos_token == "</s>"


def test_the_best_weights_are_exported_and_those_at_the_end_where_there_are_none(tiny_folder: Path) -> None:
    """The learning rate falls, so that the first validation is the best by it."""
    settings = exporting(config(tiny_folder))
    settings["best_checkpoint"] = {"monitor": "lr", "mode": "max"}
    own = {"every_n_train_steps": 2, "save_top_k": -1}  # comes first, and keeps the last steps
    settings["trainer"]["callbacks"].insert(0, {"class_path": "ModelCheckpoint", "init_args": own})
    folder = run("fit", "best", settings)
    best, last = (weights(folder / f"checkpoints/{name}.ckpt") for name in ("best", "last"))
    name = "policy.model.layers.0.mlp.down_proj.weight"
    assert not torch.equal(best[name], last[name])
    assert torch.equal(exported(folder, name), best[name])
    settings["trainer"]["limit_val_batches"] = 0
    folder = run("fit", "unvalidated", settings)
    assert not (folder / "checkpoints/best.ckpt").exists()
    assert torch.equal(exported(folder, name), weights(folder / "checkpoints/last.ckpt")[name])


def exported(folder: Path, name: str) -> Tensor:
    with safe_open(folder / "model/model.safetensors", "pt") as file:
        return file.get_tensor(name.removeprefix("policy."))


def test_exporting_changes_no_weight_and_replaces_an_older_export(tiny_folder: Path) -> None:
    plain = run("fit", "plain", config(tiny_folder, lora={"rank": 2}))
    (Path("outputs/tiny/export/adapter")).mkdir(parents=True)
    Path("outputs/tiny/export/adapter/old").touch()
    folder = run("fit", "export", exporting(config(tiny_folder, lora={"rank": 2}), merged=True))
    expected, found = (weights(each / "checkpoints/last.ckpt") for each in (plain, folder))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (folder / "adapter/old").exists()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_card_tells_how_the_weights_came_about(tiny_folder: Path) -> None:
    folder = run("fit", "card", exporting(config(tiny_folder, lora={"rank": 2})))
    text = (folder / "adapter/README.md").read_text()
    step = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["global_step"]
    assert f"trained for {step} steps" in text
    with (folder / "metrics.csv").open() as file:
        (line,) = [line for line in csv.DictReader(file) if line["step"] == str(step - 1) and line["val/mrr"]]
    for name in ("val/hit_ratio@1", "val/hit_ratio@5", "val/ndcg@5", "val/mrr"):
        assert f"| {name} | {float(line[name]):.4f} |" in text
    for expected in ("losses.DynamicPO", "losses.DMPO", "| users | 40 |", "{history}", "licence"):
        assert expected in text


def test_the_front_matter_is_what_a_hub_reads(tmp_path: Path) -> None:
    facts = CardFacts("run", "Qwen/Qwen2.5-0.5B", True, 3, {"val/mrr": 0.5}, {"users": 2}, None, {})
    path = tmp_path / "README.md"
    model_card(facts).save(path)
    front = yaml.safe_load(path.read_text().split("---\n")[1])
    assert front["library_name"] == "peft"
    assert front["base_model"] == "Qwen/Qwen2.5-0.5B"
    assert ModelCard.load(path).data.pipeline_tag == "text-generation"
    local = CardFacts("run", "/models/mine", False, 3, {}, {}, None, {})
    front = yaml.safe_load(str(model_card(local)).split("---\n")[1])
    assert "base_model" not in front, "a hub refuses the path of a folder"
    assert front["library_name"] == "transformers"


def test_a_rule_that_counts_cannot_be_exported(tiny_folder: Path, capsys) -> None:
    settings = exporting(config(tiny_folder))
    settings["model"] = {
        "class_path": "lightning_modules.baselines.GRU4Rec",
        "init_args": {"optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}}},
    }
    with pytest.raises(SystemExit) as caught:
        run("fit", "rule", settings)
    assert caught.value.code == 2
    assert "error: AdapterExport needs a language model and GRU4Rec is none" in capsys.readouterr().err


def test_what_nobody_else_could_load_is_refused_before_training() -> None:
    with torch.device("meta"):
        policy = LlamaForCausalLM(
            LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        )
    require_portable(PretrainedLM("owner/model"), policy, merged=True)
    with pytest.raises(InputError, match="'owner/model/q4.gguf' cannot be handed over"):
        require_portable(PretrainedLM("owner/model/q4.gguf"), policy, merged=False)
    policy.is_quantized = True  # as transformers marks a model that bitsandbytes has quantised
    require_portable(PretrainedLM("owner/model"), policy, merged=False)
    with pytest.raises(InputError, match="the base is quantised"):
        require_portable(PretrainedLM("owner/model"), policy, merged=True)
