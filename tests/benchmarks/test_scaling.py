"""The arithmetic of docs/scaling.md, against models that are built, and the page against the arithmetic."""

import re
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.cost import LLAMA_2_7B
from benchmarks.scaling import all_weights, lora_weights, memory_table, ring, traffic_table
from lightning_modules import LoRA

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/scaling.md").read_text()

GROUPED = LlamaConfig(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    vocab_size=101,
    tie_word_embeddings=True,
)


@pytest.mark.parametrize("config", [GROUPED, LLAMA_2_7B])
def test_weights_and_adapters_are_those_of_the_model(config: LlamaConfig) -> None:
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
        assert all_weights(config) == sum(parameter.numel() for parameter in model.parameters())
        adapted = LoRA(rank=8).apply(model)
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert lora_weights(config, 8) == trained


def test_a_ring_sends_everything_twice_but_a_processs_own_part() -> None:
    """Four processes, 8 bytes: 3 parts of 2 bytes to add them up, and 3 to hand the sums round."""
    assert ring(8, 4) == 3 * 2 + 3 * 2
    assert ring(8, 1) == 0


def test_the_page_has_the_tables() -> None:
    assert memory_table() in PAGE
    assert traffic_table() in PAGE


def test_every_file_the_page_names_is_there() -> None:
    names = re.findall(r"\b(?:tests|configs|lightning_modules)/[\w./]+\.(?:py|yaml|sh|sbatch)", PAGE)
    assert len(names) > 8
    assert [name for name in names if not (ROOT / name).exists()] == []
