"""Greedy generation over a catalogue's prompts: tokens per second, and what constraining to the candidates costs.

    python -m benchmarks.generation [--model smollm2|quickstart]

Free generation is `transformers`' own, with a cache of keys and values. The constrained one reads the packed
candidates' next-token probabilities in one forward, so every answer is an item.
"""

from functools import partial

from benchmarks.measure import median_seconds
from benchmarks.table import markdown
from benchmarks.workload import requested
from datamodules.output_streams import outlive_readers
from lightning_modules.generation import constrained_choice, greedy_tokens

CANDIDATES, MAX_NEW_TOKENS = 20, 16


def main(args: list[str] | None = None) -> None:
    """Measures and prints a table."""
    workloads, steps = requested("benchmarks.generation", str(__doc__), CANDIDATES - 1, 3, args)
    rows = []
    for workload in workloads:
        data = workload.data_module()
        packed, model = workload.batch(data).packed, workload.base(data).eval()
        eos = data.tokenizer.eos_token_id
        written = greedy_tokens(model, packed, eos, MAX_NEW_TOKENS).numel()
        free = median_seconds(partial(greedy_tokens, model, packed, eos, MAX_NEW_TOKENS), steps)
        bound = median_seconds(partial(constrained_choice, model, packed), steps)
        rows.append(
            [
                workload.model,
                str(workload.batch_size),
                f"{free:.3f}",
                f"{written / free:.0f}",
                f"{bound:.3f}",
                f"{free / bound:.1f} ×",
            ]
        )
    head = ("model", "prompts", "free, s", "tokens/s", "constrained, s", "free / constrained")
    print(markdown(head, rows))


if __name__ == "__main__":
    outlive_readers()
    main()
