"""What Llama-2-7B needs on every GPU, and sends: computed, not measured.

    python -m benchmarks.scaling

prints the tables of `docs/scaling.md`, which explains the terms.
"""

from transformers import LlamaConfig

from benchmarks.cost import LLAMA_2_7B, Shape, layer_weights
from benchmarks.table import markdown
from datamodules.output_streams import outlive_readers

# A weight in NF4, and a float32 scale for every 64 (arXiv 2305.14314, without its double quantisation).
_NF4 = 0.5 + 4 / 64
_RANK = 8
_PROMPTS = 4
_SHAPE = Shape(prompt=500, response=8, negatives=15)


def table_weights(config: LlamaConfig) -> float:
    """Weights outside the layers: embeddings, vocabulary projection, last norm."""
    tables = 1 if config.tie_word_embeddings else 2
    return float(tables * config.vocab_size * config.hidden_size + config.hidden_size)


def all_weights(config: LlamaConfig) -> float:
    """Weights of the whole model, norms included."""
    norms = 2 * config.num_hidden_layers * config.hidden_size
    return layer_weights(config) + norms + table_weights(config)


def lora_weights(config: LlamaConfig, rank: int) -> float:
    """Weights of an adapter on all seven projections of every layer: rank × (inputs + outputs) each."""
    hidden, forward = config.hidden_size, config.intermediate_size
    keys = (config.num_key_value_heads or 0) * (hidden // config.num_attention_heads)
    ends = 2 * (hidden + hidden) + 2 * (hidden + keys) + 3 * (hidden + forward)
    return float(config.num_hidden_layers * rank * ends)


def activations(config: LlamaConfig, shape: Shape, stream: int) -> float:
    """Bytes of one example with gradient checkpointing: every layer's input, and one layer computed again.

    Args:
        config: The model.
        shape: The example.
        stream: Bytes of a number between two layers; inside, it is 2.
    """
    hidden, layers = config.hidden_size, config.num_hidden_layers
    inside = 2 * (10 * hidden + 4 * config.intermediate_size)
    return shape.packed * (layers * hidden * stream + inside)


def logits(config: LlamaConfig, positions: float) -> float:
    """Bytes of the logits and of their gradient, in float32."""
    return 2 * 4 * positions * config.vocab_size


def lora_memory(config: LlamaConfig) -> list[float]:
    """Bytes on every GPU under DDP, adapters on an NF4 base; rows as in `memory_table`."""
    adapter = lora_weights(config, _RANK)
    frozen = _NF4 * layer_weights(config) + 2 * table_weights(config) + 4 * adapter
    return [frozen, 4 * adapter, 4 * adapter, 8 * adapter, 0, 0, *_example(config, stream=2)]


def sharded_memory(config: LlamaConfig, processes: int) -> list[float]:
    """Bytes on every GPU under `FullySharded`, everything trained, in float32."""
    own = all_weights(config) / processes
    layer = layer_weights(config) / config.num_hidden_layers
    # Two layers, since the next one comes while one is computed; one layer's gradients; the tables of policy and
    # reference stay for the whole step, and so do the gradients of the policy's.
    whole = 4 * (3 * layer + 3 * table_weights(config))
    return [4 * own, 4 * own, 4 * own, 8 * own, whole, 2 * all_weights(config), *_example(config, stream=4)]


def _example(config: LlamaConfig, stream: int) -> list[float]:
    return [
        _PROMPTS * activations(config, _SHAPE, stream),
        _PROMPTS * logits(config, _SHAPE.scored),
    ]


def memory_table(config: LlamaConfig = LLAMA_2_7B) -> str:
    """Renders gigabytes on every GPU."""
    names = (
        "frozen base, or reference",
        "trained weights",
        "gradients",
        "Adam",
        "gathered for the moment",
        "16-bit copies of weights",
        "activations",
        "logits",
        "**sum**",
    )
    columns = [lora_memory(config), *(sharded_memory(config, processes) for processes in (4, 8, 16))]
    cells = [[f"{size / 1e9:.1f}" for size in (*column, sum(column))] for column in columns]
    body = [[name, *row] for name, row in zip(names, zip(*cells, strict=True), strict=True)]
    return markdown(
        ("GB on every GPU", "DDP, LoRA on NF4", "FSDP, 4 GPUs", "FSDP, 8 GPUs", "FSDP, 16 GPUs"), body
    )


def ring(size: float, processes: int) -> float:
    """Bytes that each process sends in a ring all-reduce: a reduce-scatter and an all-gather."""
    return 2 * (processes - 1) / processes * size


def traffic_table(config: LlamaConfig = LLAMA_2_7B) -> str:
    """Renders gigabytes that every GPU sends."""
    body = []
    for processes in (2, 4, 8, 16):
        adapters = ring(4 * lora_weights(config, _RANK), processes)
        full = ring(4 * all_weights(config), processes)
        # Policy gathered for the forward and for the backward, its gradients scattered, the reference gathered.
        sharded = 2 * full
        body.append([str(processes), *(f"{size / 1e9:.2f}" for size in (adapters, full, sharded))])
    return markdown(
        ("GPUs", "DDP, LoRA, a step", "DDP, all weights, a step", "FSDP, a batch of a process"), body
    )


if __name__ == "__main__":
    outlive_readers()
    print(memory_table())
    print()
    print(traffic_table())
