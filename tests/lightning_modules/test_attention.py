"""FlexAttention's block mask against the dense one; the kernel itself needs CUDA, its eager form runs here."""

from pathlib import Path

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from datamodules.packing import dense_mask, pack
from datamodules.tokenization import learn_tokenizer
from lightning_modules import PretrainedLM
from lightning_modules.attention import FLEX, block_mask
from lightning_modules.scoring import response_log_probs
from tests.lightning_modules.test_scoring import ragged_batch

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "vocab_size": 120,
}


@pytest.mark.parametrize("window", [None, 1, 4])
def test_the_block_mask_is_the_dense_mask(window: int | None) -> None:
    packed = pack(*ragged_batch())
    mask = block_mask(packed.position_ids, packed.segment_ids, window)
    rows, length = packed.position_ids.shape
    dense = create_mask(mask.mask_mod, rows, 1, length, length, device="cpu")
    assert torch.equal(dense, dense_mask(packed.position_ids, packed.segment_ids, window))


@pytest.mark.parametrize(
    ("model_class", "config"),
    [
        (LlamaForCausalLM, LlamaConfig(**SIZES)),
        (MistralForCausalLM, MistralConfig(**SIZES, sliding_window=4)),
    ],
)
def test_log_probs_are_those_of_sdpa(model_class, config) -> None:
    torch.manual_seed(0)
    model = model_class(config).eval()
    packed = pack(*ragged_batch())
    found = {}
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        for implementation in ("sdpa", FLEX):
            model.set_attn_implementation(implementation)
            found[implementation] = response_log_probs(model, packed)
    torch.testing.assert_close(found[FLEX], found["sdpa"], rtol=0, atol=1e-5)


def test_a_pretrained_model_takes_it_as_a_setting(tmp_path: Path) -> None:
    tokenizer = learn_tokenizer(["a b c"])
    tokenizer.save_pretrained(tmp_path)
    LlamaForCausalLM(LlamaConfig(**{**SIZES, "vocab_size": len(tokenizer)})).save_pretrained(tmp_path)
    with torch.compiler.set_stance("force_eager"):
        model = PretrainedLM(str(tmp_path), flex_attention=True).build(tokenizer)
    assert model.config._attn_implementation == FLEX
