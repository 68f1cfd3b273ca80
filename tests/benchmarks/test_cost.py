import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.cost import Shape, forward_flops, layer_weights, step_flops
from datamodules.packing import pack
from lightning_modules.scoring import response_log_probs

CONFIG = LlamaConfig(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    vocab_size=101,
    attn_implementation="eager",
)


def test_weights_are_those_of_the_layers() -> None:
    model = LlamaForCausalLM(CONFIG)
    projections = [p for name, p in model.model.layers.named_parameters() if "norm" not in name]
    assert layer_weights(CONFIG) == sum(parameter.numel() for parameter in projections)


def test_a_forward_is_what_the_operations_count() -> None:
    """Against torch's own counter of the products that were run."""
    prompt = torch.arange(20, dtype=torch.int32).numpy()
    responses = [torch.arange(5, dtype=torch.int32).numpy()] * 4
    packed = pack([prompt], [responses])
    shape = Shape(prompt=20, response=5, negatives=3)
    assert packed.input_ids.numel() == shape.packed == 36
    assert len(packed.source) == shape.scored == 17
    with FlopCounterMode(display=False) as counter:
        response_log_probs(LlamaForCausalLM(CONFIG), packed)
    counted = counter.get_total_flops()
    assert forward_flops(CONFIG, shape.packed, shape.packed, shape.scored) == pytest.approx(counted, rel=0.01)


def test_many_negatives_cost_little_behind_a_long_prompt() -> None:
    one, many = (step_flops(CONFIG, Shape(1000, 2, k), lora=True) for k in (1, 15))
    assert many[0] / one[0] < 1.05
    assert many[1] / one[1] == pytest.approx(8, rel=0.01)
