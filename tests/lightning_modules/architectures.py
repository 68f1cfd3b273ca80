"""Tiny models with random weights of every architecture that is supported, each with a tokenizer of its kind.

    from tests.lightning_modules.architectures import each_architecture, save_tiny

    @each_architecture  # two run in `make test`, the rest are marked slow
    def test_something(architecture: str, tmp_path: Path) -> None:
        folder = save_tiny(architecture, tmp_path / architecture)  # a name for PretrainedLM and for data.tokenizer

The windows of sliding attention are shorter than any prompt. The weights are large, so that attending to a wrong token
shows. The tokenizers are the classes of transformers, on the vocabulary that all bytes need and a few merges:

| kind        | BOS | padding token | a text gets a leading space |
|-------------|-----|---------------|-----------------------------|
| Llama 2     | yes | no            | yes                         |
| Llama 3     | yes | no            | no                          |
| Qwen        | no  | is EOS        | no                          |
| Gemma       | yes | yes           | no                          |
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GemmaTokenizer,
    LlamaConfig,
    LlamaTokenizer,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Tokenizer,
    Qwen3Config,
)

from datamodules.tokenization import learn_tokenizer

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] | trim }}\n"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)

_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
}
_WORDS = ["Toy", "Story", "Red", "Blue", "River", "House", "Moon", "Day", "Night", "Road", "Films", "Answer"]


def _merges(space: str) -> list[tuple[str, str]]:
    """Spells out each word from left to right, behind a space and without one."""
    found: dict[tuple[str, str], None] = {}
    for word in _WORDS:
        for text in (space + word, word):
            for end in range(1, len(text)):
                found[text[:end], text[end]] = None
    return list(found)


def _vocabulary(specials: list[str], alphabet: list[str], merges: list[tuple[str, str]]) -> dict[str, int]:
    symbols = dict.fromkeys([*specials, *alphabet, *(left + right for left, right in merges)])
    return {symbol: index for index, symbol in enumerate(symbols)}


def _byte_fallback(
    specials: list[str], tokenizer: Callable[..., PreTrainedTokenizerBase]
) -> PreTrainedTokenizerBase:
    """SentencePiece's way: a space is ▁, and a character without a token falls into bytes."""
    merges = _merges("▁")
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", *map(chr, range(33, 127))]
    return tokenizer(vocab=_vocabulary(specials, alphabet, merges), merges=merges)


def llama2_tokenizer() -> PreTrainedTokenizerBase:
    return _byte_fallback(["<unk>", "<s>", "</s>"], LlamaTokenizer)


def gemma_tokenizer() -> PreTrainedTokenizerBase:
    return _byte_fallback(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], GemmaTokenizer)


def _byte_level() -> tuple[list[str], list[tuple[str, str]]]:
    return sorted(pre_tokenizers.ByteLevel.alphabet()), _merges("Ġ")


def qwen_tokenizer() -> PreTrainedTokenizerBase:
    alphabet, merges = _byte_level()
    return Qwen2Tokenizer(vocab=_vocabulary(["<|endoftext|>"], alphabet, merges), merges=merges)


def llama3_tokenizer() -> PreTrainedTokenizerBase:
    core = learn_tokenizer([f" {word}" for word in _WORDS] + _WORDS).backend_tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


@dataclass(frozen=True)
class Architecture:
    """A configuration class with what is special about it, and a tokenizer."""

    config: type[PreTrainedConfig]
    settings: dict[str, Any]
    tokenizer: Callable[[], PreTrainedTokenizerBase]


_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
ARCHITECTURES = {
    "llama2": Architecture(LlamaConfig, {"num_key_value_heads": 4}, llama2_tokenizer),
    "llama3": Architecture(LlamaConfig, {"rope_parameters": _LLAMA3_ROPE}, llama3_tokenizer),
    "smollm2": Architecture(
        LlamaConfig, {"num_key_value_heads": 1, "tie_word_embeddings": True}, qwen_tokenizer
    ),
    "qwen2.5": Architecture(Qwen2Config, {"tie_word_embeddings": True}, qwen_tokenizer),
    "qwen3": Architecture(
        Qwen3Config,
        {
            "head_dim": 16,
            "use_sliding_window": True,
            "sliding_window": 6,
            "layer_types": ["full_attention", "sliding_attention"],
        },
        qwen_tokenizer,
    ),
    "mistral": Architecture(MistralConfig, {"sliding_window": 5}, llama2_tokenizer),
    "gemma3": Architecture(
        Gemma3TextConfig,
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention"],
            "final_logit_softcapping": 3.0,
            "tie_word_embeddings": True,
        },
        gemma_tokenizer,
    ),
}  # fmt: skip
FAST = ("llama2", "gemma3")

each_architecture = pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow, id=name) for name in ARCHITECTURES],
)


def tiny_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Makes the tokenizer of an architecture, with a chat template."""
    tokenizer = ARCHITECTURES[name].tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_model(name: str, tokenizer: PreTrainedTokenizerBase, **settings: Any) -> PreTrainedModel:
    """Draws a model's weights from seed 0."""
    architecture = ARCHITECTURES[name]
    config = architecture.config(
        **{
            **_SIZES,
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **architecture.settings,
            **settings,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def save_tiny(name: str, folder: Path, **settings: Any) -> Path:
    """Writes a model and its tokenizer as a hub would hold them; returns the folder."""
    tokenizer = tiny_tokenizer(name)
    tiny_model(name, tokenizer, **settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
