"""Ranking 20 candidates: packed behind one prompt against one forward for each.

python -m benchmarks.ranking [--model smollm2|quickstart]
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.measure import median_seconds
from benchmarks.table import markdown
from benchmarks.usual import RepeatedBatch, repeat_prompts, sequence_log_probs
from benchmarks.workload import requested
from datamodules.output_streams import outlive_readers
from datamodules.packing import PackedBatch
from lightning_modules.scoring import response_log_probs

CANDIDATES = 20


def one_forward_each(model: PreTrainedModel, repeated: RepeatedBatch) -> Tensor:
    """Scores the first candidate of all prompts in one forward, then the second, and so on; shape [B, C]."""
    size = repeated.batch_size
    columns = []
    for start in range(0, len(repeated.input_ids), size):
        part = slice(start, start + size)
        rows = (repeated.input_ids[part], repeated.attention_mask[part], repeated.labels[part])
        columns.append(sequence_log_probs(model, RepeatedBatch(*rows, batch_size=size)))
    return torch.cat(columns, dim=1)


@torch.no_grad()
def compare(model: PreTrainedModel, packed: PackedBatch, steps: int) -> tuple[float, float]:
    """Times both after checking that they agree.

    Returns:
        Seconds packed, and seconds with one forward per candidate.

    Raises:
        AssertionError: The scores differ by more than 1e-3 nats.
    """
    repeated = repeat_prompts(packed)
    difference = (response_log_probs(model, packed) - one_forward_each(model, repeated)).abs().max().item()
    if not difference <= 1e-3:
        raise AssertionError(f"the two ways differ by {difference} nats: they must rank alike")
    ours = median_seconds(lambda: response_log_probs(model, packed), steps)
    return ours, median_seconds(lambda: one_forward_each(model, repeated), steps)


def main(args: list[str] | None = None) -> None:
    """Measures and prints a table."""
    workloads, steps = requested("benchmarks.ranking", str(__doc__), CANDIDATES - 1, 3, args)
    rows = []
    for workload in workloads:
        data = workload.data_module()
        packed = workload.batch(data).packed
        ours, each = compare(workload.base(data).eval(), packed, steps)
        rows.append(
            [workload.model, str(workload.batch_size), f"{ours:.3f}", f"{each:.3f}", f"{each / ours:.1f} ×"]
        )
    print(markdown(("model", "prompts", "packed, s", "one forward each, s", "speed-up"), rows))


if __name__ == "__main__":
    outlive_readers()
    main()
