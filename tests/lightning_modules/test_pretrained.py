"""What may be loaded, and the one line that says why something may not."""

import json
import re
import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3Config,
    GPT2Config,
    GraniteConfig,
    MambaConfig,
    MixtralConfig,
    MptConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RwkvConfig,
    T5Config,
)

from datamodules import InputError
from datamodules.packing import pack
from datamodules.tokenization import PieceEncoder, load_tokenizer
from lightning_modules import LoRA, PretrainedLM
from lightning_modules.checkpoints import require_same_model
from lightning_modules.language_model import causal_lm
from lightning_modules.scoring import response_log_probs
from tests.cli import run, supervised, weights
from tests.conftest import TINY_USERS
from tests.lightning_modules.architectures import (
    llama3_tokenizer,
    qwen_tokenizer,
    save_tiny,
    tiny_model,
    tiny_tokenizer,
)
from tests.lightning_modules.test_cli import fails
from tests.lightning_modules.test_scoring import ragged_batch


@pytest.fixture(autouse=True)
def _without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    return tiny_tokenizer("llama3")


def save_random(config: PreTrainedConfig, folder: Path) -> str:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


def test_a_model_that_also_sees_images_is_adapted_where_text_passes(tmp_path: Path) -> None:
    """Gemma 3 from 4B on; its layers for images have the same names."""
    tokenizer = tiny_tokenizer("gemma3")
    text = tiny_model("gemma3", tokenizer, final_logit_softcapping=None).config.to_dict()
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    policy = LoRA(rank=1).apply(PretrainedLM(save_random(config, tmp_path / "model")).build(tokenizer))
    assert type(causal_lm(policy)).__name__ == "Gemma3ForConditionalGeneration"
    response_log_probs(causal_lm(policy), pack(*ragged_batch())).sum().backward()
    trained = {name: weight for name, weight in policy.named_parameters() if weight.requires_grad}
    assert len(trained) == 2 * 7 * 2
    assert all(weight.grad is not None for weight in trained.values())


LARGE = {"initializer_range": 0.2, "vocab_size": 300, "hidden_size": 32}


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=300, initializer_range=0.2),
        MixtralConfig(
            **LARGE, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_an_architecture_that_nobody_named_is_taken_if_it_scores_right(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    assert PretrainedLM(save_random(config, tmp_path / "model")).build(tokenizer).config.model_type


@pytest.mark.parametrize(
    "config",
    [
        MambaConfig(**LARGE, num_hidden_layers=2, state_size=8),
        RwkvConfig(vocab_size=300, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32),
        BloomConfig(**LARGE, n_layer=2, n_head=4),  # ALiBi
        MptConfig(vocab_size=300, d_model=32, n_layers=2, n_heads=4, initializer_range=0.2),  # ALiBi
        GraniteConfig(**LARGE, num_hidden_layers=2, num_attention_heads=4, logits_scaling=4.0),
    ],
    ids=lambda config: config.model_type,
)
def test_an_architecture_that_would_score_wrong_is_refused(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    name = save_random(config, tmp_path / "model")
    with pytest.raises(InputError) as caught:
        PretrainedLM(name).build(tokenizer)
    assert f"({config.model_type}) cannot score many responses behind one prompt" in str(caught.value)
    assert "\n" not in str(caught.value)


def empty(folder: Path) -> None:
    folder.mkdir()


def without_weights(folder: Path) -> None:
    (save_tiny("llama3", folder) / "model.safetensors").unlink()


def with_torn_weights(folder: Path) -> None:
    (save_tiny("llama3", folder) / "model.safetensors").write_bytes(b"torn")


def with_a_layer_missing(folder: Path) -> None:
    path = save_tiny("llama3", folder) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_hidden_layers": 3}))


def an_encoder_decoder(folder: Path) -> None:
    T5Config().save_pretrained(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, "no language model at 'model' (Unrecognized model"),
        (without_weights, "no language model at 'model' (Error no file named model.safetensors"),
        (with_torn_weights, "no language model at 'model' (Error while deserializing header"),
        (with_a_layer_missing, "the weights at 'model' are not all of its config.json's: 9 are missing"),
        (an_encoder_decoder, "no language model at 'model' (Unrecognized configuration class"),
    ],
)
def test_a_folder_that_is_no_model_is_one_line(
    make: Callable[[Path], None], message: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    make(Path("model"))
    with pytest.raises(InputError) as caught:
        PretrainedLM("model").build(tokenizer)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_says_which_file_was_sought_and_what_to_do(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    with pytest.raises(InputError, match="config.json is neither in the local cache nor to be had from http"):
        PretrainedLM("owner/model").build(tokenizer)
    with pytest.raises(InputError, match="tokenizer.json is neither .*: connect, or copy the model here"):
        load_tokenizer("owner/model")
    with pytest.raises(InputError, match="no such folder, and weights.gguf is neither"):
        PretrainedLM("owner/model/weights.gguf").build(tokenizer)
    with pytest.raises(
        InputError, match="no language model at './nothing' .*: give a hub name or a local folder"
    ):
        PretrainedLM("./nothing").build(tokenizer)


def test_a_folder_without_a_tokenizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="^no tokenizer at '.*': give a folder with tokenizer.json and all beside it$"
    ):
        load_tokenizer(str(tmp_path))


def language_model(settings: dict, folder: Path, **model) -> dict:
    settings["model"]["init_args"].update(
        language_model={
            "class_path": "lightning_modules.PretrainedLM",
            "init_args": {"name": str(folder), **model},
        }
    )
    settings["data"]["init_args"]["tokenizer"] = str(folder)
    return settings


def test_the_command_line_says_in_one_line_that_the_hub_cannot_be_reached(tiny_folder: Path, capsys) -> None:
    line = fails(capsys, "fit", "hub", language_model(supervised(tiny_folder), Path("owner/model")))
    assert "no tokenizer at 'owner/model'" in line


def test_a_tokenizer_without_eos_is_refused(tiny_folder: Path, capsys) -> None:
    folder = save_tiny("llama3", Path("model"))
    tokenizer = llama3_tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    line = fails(capsys, "fit", "eos", language_model(supervised(tiny_folder), folder))
    assert "the tokenizer 'model' has no EOS token" in line


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = save_tiny("llama3", tmp_path / "model")
    with pytest.raises(InputError, match="the tokenizer has 347 tokens and .* only 283"):
        PretrainedLM(str(folder)).build(qwen_tokenizer())


def test_a_context_shorter_than_a_prompt_names_the_user_and_both_lengths(tiny_folder: Path, capsys) -> None:
    folder = save_tiny("llama3", Path("model"), max_position_embeddings=200)
    line = fails(capsys, "fit", "long", language_model(supervised(tiny_folder), folder))
    found = re.search(r"user u(\d+): a prompt has (\d+) tokens and the model's context 200", line)
    assert found is not None, line
    assert int(found[1]) < TINY_USERS
    assert 200 < int(found[2]) <= 512


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is there")
def test_quantising_without_bitsandbytes_says_what_to_install(tiny_folder: Path, capsys) -> None:
    folder = save_tiny("llama3", Path("model"))
    settings = language_model(supervised(tiny_folder), folder, quantization="nf4")
    assert (
        "quantization=nf4 needs the package bitsandbytes, which is the extra `quantised`: pip install"
        in fails(capsys, "fit", "q", settings)
    )


@pytest.mark.skipif(find_spec("gguf") is not None, reason="gguf is there")
def test_a_gguf_file_without_its_reader_says_what_to_install(tokenizer: PreTrainedTokenizerBase) -> None:
    key, value = b"general.architecture", b"llama"  # a string is type 8
    entry = struct.pack("<Q20sIQ5s", len(key), key, 8, len(value), value)
    Path("weights.gguf").write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + entry)
    with pytest.raises(InputError, match="needs the package gguf, which is the extra `gguf`: pip install"):
        PretrainedLM("./weights.gguf").build(tokenizer)


def test_a_torn_gguf_file_is_one_line(tokenizer: PreTrainedTokenizerBase) -> None:
    Path("weights.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match="no language model at './weights.gguf' .*: give a whole GGUF file"):
        PretrainedLM("./weights.gguf").build(tokenizer)


def adapted(tiny_folder: Path, folder: Path, **model) -> dict:
    settings = language_model(supervised(tiny_folder), folder, **model)
    settings["model"]["init_args"]["lora"] = {"rank": 1}
    settings["data"]["init_args"].update(max_length=1024, max_val_examples=4, max_test_examples=4)
    settings["trainer"].update(max_steps=1, val_check_interval=1)
    return settings


def test_a_checkpoint_is_refused_on_another_base_or_other_adapters(tiny_folder: Path, capsys) -> None:
    """Loaded without strictness it would restore what has the same name and shape, which is wrong here too."""
    folder, other = save_tiny("llama3", Path("model")), save_tiny("llama3", Path("other"))
    checkpoint = str(run("fit", "trained", adapted(tiny_folder, folder)) / "checkpoints/last.ckpt")
    line = fails(capsys, "test", "trained", adapted(tiny_folder, other), "--ckpt_path", checkpoint)
    assert "model is 'model' there and 'other' here" in line
    settings = adapted(tiny_folder, folder)
    settings["model"]["init_args"]["lora"]["target_modules"] = ["q_proj"]
    line = fails(capsys, "test", "trained", settings, "--ckpt_path", checkpoint)
    assert "lora_target_modules is ['q_proj', 'k_proj'" in line


@pytest.mark.parametrize("change", [{"revision": "v2"}, {"dtype": "bfloat16"}, {"quantization": "nf4"}])
def test_a_checkpoint_is_refused_where_the_base_was_loaded_in_another_way(change: dict) -> None:
    (name,) = change
    trained, asked = PretrainedLM("model", **change).identity(), PretrainedLM("model").identity()
    with pytest.raises(InputError, match=f"of another model: {name} is '.*' there and .* here: use"):
        require_same_model(trained, asked, "the checkpoint")


def test_a_layer_to_adapt_that_is_not_there_is_refused(tiny_folder: Path, capsys) -> None:
    settings = adapted(tiny_folder, save_tiny("llama3", Path("model")))
    settings["model"]["init_args"]["lora"]["target_modules"] = ["q_proj", "c_attn"]
    line = fails(capsys, "fit", "layers", settings)
    assert "lora.target_modules names c_attn and the model's layers are" in line


def write_gguf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Writes a Qwen2 model and its tokenizer as llama.cpp would, in float32."""
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
    config, core = model.config, json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(core["vocab"], key=core["vocab"].get))
    writer.add_token_merges([" ".join(pair) for pair in core["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":  # tied
            writer.add_tensor(names.get_name(name, (".weight", ".bias")), weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_a_model_and_a_tokenizer() -> None:
    tokenizer = qwen_tokenizer()
    model = tiny_model("qwen2.5", tokenizer)
    write_gguf(model, tokenizer, Path("tiny.gguf"))
    loaded = load_tokenizer("./tiny.gguf")
    texts = ["Toy Story", "Ünïcode 🎬"]
    assert PieceEncoder(loaded).titles(texts) == PieceEncoder(tokenizer).titles(texts)
    batch = pack(*ragged_batch())
    again = PretrainedLM("./tiny.gguf").build(loaded)
    torch.testing.assert_close(response_log_probs(again, batch), response_log_probs(model, batch))


needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="the package bitsandbytes is not installed"
)


@needs_bitsandbytes
@pytest.mark.parametrize(("quantization", "tolerance"), [("nf4", 1e-3), ("int8", 0.1)])
def test_gradients_pass_quantised_weights_as_they_pass_unpacked_ones(
    quantization, tolerance: float, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """In evaluation mode first, as validation does; int8 also rounds what comes into a layer."""
    folder = save_tiny("llama3", tmp_path / "model", hidden_size=64, intermediate_size=128)
    found, expected = [], []
    for results, unpack in ((found, False), (expected, True)):
        model = PretrainedLM(str(folder), quantization=quantization).build(tokenizer)
        assert {weight.dtype for weight in model.parameters()} > {torch.float32}
        policy = LoRA(rank=2, dropout=0.0).apply(model.dequantize() if unpack else model)
        torch.manual_seed(0)
        trained = [weight for weight in policy.parameters() if weight.requires_grad]
        for weight in trained:
            torch.nn.init.normal_(weight, std=0.1)
        with torch.no_grad():
            response_log_probs(causal_lm(policy.eval()), pack(*ragged_batch()))
        scores = response_log_probs(causal_lm(policy.train()), pack(*ragged_batch()))
        results += [scores.detach(), *torch.autograd.grad(scores.sum(), trained)]
    for own, whole in zip(found, expected, strict=True):
        assert (own - whole).norm() <= tolerance * whole.norm()


@needs_bitsandbytes
def test_quantised_weights_need_adapters(tiny_folder: Path, capsys) -> None:
    folder = save_tiny("llama3", Path("model"), hidden_size=64, intermediate_size=128)
    settings = language_model(supervised(tiny_folder), folder, quantization="nf4")
    assert "quantised weights cannot be trained: set model.lora" in fails(capsys, "fit", "q", settings)


@needs_bitsandbytes
def test_a_paged_optimiser_comes_from_the_config_and_resumes(tiny_folder: Path) -> None:
    """On a CPU bitsandbytes warns and keeps the states in memory that is not paged."""
    settings = adapted(
        tiny_folder,
        save_tiny("llama3", Path("model"), hidden_size=64, intermediate_size=128),
        quantization="nf4",
    )
    paged = {"class_path": "bitsandbytes.optim.PagedAdamW8bit", "init_args": {"lr": 1.0e-2}}
    settings["model"]["init_args"]["optimizer"] = paged
    first = weights(run("fit", "paged", settings) / "checkpoints/last.ckpt")
    settings["trainer"]["max_steps"] = 2
    second = weights(run("fit", "paged", settings, "--ckpt_path", "last") / "checkpoints/last.ckpt")
    assert not any(torch.equal(first[name], second[name]) for name in first if "lora_B" in name)
