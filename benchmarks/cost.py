"""A cost model of one preference step: arithmetic and memory against prompt, response, K and vocabulary.

    python -m benchmarks.cost RESULTS.json

compares it with what `benchmarks.step --json` measured and says what it expects of Llama-2-7B. `docs/cost.md` explains
the terms.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from transformers import LlamaConfig

from benchmarks.table import markdown
from benchmarks.workload import Workload
from datamodules.output_streams import outlive_readers

LLAMA_2_7B = LlamaConfig(
    hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, intermediate_size=11008, vocab_size=32000
)

# 40 % of an A100's 312 TFLOP/s in bfloat16: what well-kept trainers reach.
_GPU_FLOPS = 0.4 * 312e12


@dataclass(frozen=True)
class Shape:
    """What one example looks like.

    Attributes:
        prompt: Tokens of the prompt.
        response: Tokens of a response, EOS included.
        negatives: K.
    """

    prompt: float
    response: float
    negatives: int

    @property
    def packed(self) -> float:
        """Tokens of a packed row: the prompt once, and of every response all but EOS."""
        return self.prompt + (1 + self.negatives) * (self.response - 1)

    @property
    def repeated(self) -> float:
        """Tokens when the prompt stands before every response."""
        return (1 + self.negatives) * (self.prompt + self.response)

    @property
    def scored(self) -> float:
        """Positions that packed scoring projects on the vocabulary; all responses share the prompt's last."""
        return 1 + (1 + self.negatives) * (self.response - 1)


def layer_weights(config: LlamaConfig) -> float:
    """Weights of all decoder layers."""
    hidden, head = config.hidden_size, config.hidden_size // config.num_attention_heads
    attention = 2 * hidden * hidden + 2 * hidden * head * (config.num_key_value_heads or 0)
    return float(config.num_hidden_layers * (attention + 3 * hidden * config.intermediate_size))


def forward_flops(config: LlamaConfig, tokens: float, row: float, scored: float) -> float:
    """Counts a forward.

    Args:
        config: The model.
        tokens: Tokens that go through the decoder.
        row: Length of a row; every token meets every key of its row, masked or not.
        scored: Positions that are projected on the vocabulary.

    Returns:
        Floating-point operations: two for each weight and token, four for each pair of tokens, layer and unit of width.
    """
    attention = 4 * config.num_hidden_layers * config.hidden_size * row * tokens
    return (
        2 * layer_weights(config) * tokens + attention + 2 * config.hidden_size * config.vocab_size * scored
    )


def step_flops(config: LlamaConfig, shape: Shape, lora: bool, cached: bool = False) -> tuple[float, float]:
    """Counts policy forward and backward and the reference's forward, for one example.

    The backward is twice the forward, or once with LoRA, whose frozen weights need no gradient.

    Returns:
        Packed, and with the prompt repeated.
    """
    passes = (2 if lora else 3) + (not cached)
    ours = forward_flops(config, shape.packed, shape.packed, shape.scored)
    usual = forward_flops(config, shape.repeated, shape.prompt + shape.response, shape.repeated)
    return passes * ours, passes * usual


def activation_bytes(config: LlamaConfig, tokens: float, row: float, scored: float, width: int = 4) -> float:
    """Counts what a forward keeps for the backward.

    Per token and layer: ten vectors of the model's width (inputs of the norms and projections, queries, keys, values,
    the attention's output) and four of the feed-forward's; the dense mask; per scored position the logits twice.
    """
    layers = (
        config.num_hidden_layers * tokens * (10 * config.hidden_size + 4 * config.intermediate_size) * width
    )
    return layers + tokens * row + 2 * scored * config.vocab_size * 4


def mean_shape(workload: Workload) -> Shape:
    """Measures the tokens of the workload's batch."""
    packed = workload.batch(workload.data_module()).packed
    prompt = (packed.segment_ids == 0).sum(dim=1).float().mean().item()
    return Shape(prompt, packed.lengths.float().mean().item(), workload.num_negatives)


def compare(model: str, points: dict[str, dict[str, float | None]], cache_dir: str) -> str:
    """Renders predicted beside measured ratios of one model."""
    body = []
    for k, measured in points.items():
        workload = Workload(model, int(k), 2, cache_dir)
        shape = mean_shape(workload)
        config = workload.base(workload.data_module()).config
        cells = [k, f"{shape.packed:.0f}", f"{shape.repeated:.0f}"]
        for cached, name in ((False, "speedup"), (True, "speedup_cached")):
            ours, _ = step_flops(config, shape, workload.lora is not None, cached)
            # The usual way has no cache: its reference is always live.
            _, usual = step_flops(config, shape, workload.lora is not None)
            cells += [f"{usual / ours:.1f} ×", "–" if measured[name] is None else f"{measured[name]:.1f} ×"]
        body.append(cells)
    head = (
        "K",
        "tokens, packed",
        "repeated",
        "arithmetic",
        "measured",
        "arithmetic, cached",
        "measured, cached",
    )
    return markdown(head, body)


def llama_table(negatives: tuple[int, ...] = (1, 3, 7, 15, 19)) -> str:
    """Renders what is expected of Llama-2-7B with NF4 and LoRA, 8 prompts on a GPU; nothing here was measured."""
    body = []
    for k in negatives:
        shape = Shape(prompt=500, response=8, negatives=k)
        ours, usual = step_flops(LLAMA_2_7B, shape, lora=True)
        memory = [
            4.0 + 8 * activation_bytes(LLAMA_2_7B, tokens, row, scored, width=2) / 2**30
            for tokens, row, scored in (
                (shape.packed, shape.packed, shape.scored),
                (shape.repeated, shape.prompt + shape.response, shape.repeated),
            )
        ]
        seconds = [128 / 4 * flops / _GPU_FLOPS for flops in (ours, usual)]
        body.append(
            [str(k), *(f"{s:.1f}" for s in seconds), f"{usual / ours:.1f} ×", *(f"{m:.0f}" for m in memory)]
        )
    head = ("K", "packed, s", "repeated, s", "ratio", "packed, GB", "repeated, GB")
    return markdown(head, body)


def main(args: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, help="what `python -m benchmarks.step --json` printed")
    parser.add_argument("--cache_dir", default="cache")
    settings = parser.parse_args(args)
    for model, points in json.loads(settings.results.read_text()).items():
        print(f"{model}\n\n{compare(model, points, settings.cache_dir)}\n")
    print(f"Llama-2-7B, NF4 and LoRA, 4 A100, global batch 128, predicted\n\n{llama_table()}")


if __name__ == "__main__":
    outlive_readers()
    main()
