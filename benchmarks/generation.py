"""Greedy generation over a catalogue's prompts: tokens per second, and what constraining to the candidates costs.

    python -m benchmarks.generation [--model smollm2|quickstart]

Free generation is `transformers`' own, with a cache of keys and values. The constrained one reads the packed
candidates' next-token probabilities in one forward, so every answer is an item.
"""

import argparse
from functools import partial

from benchmarks.measure import median_seconds
from benchmarks.table import markdown
from benchmarks.workload import BATCH_SIZES, MODELS, Workload
from lightning_modules.generation import constrained_choice, greedy_tokens

CANDIDATES, MAX_NEW_TOKENS = 20, 16


def main(args: list[str] | None = None) -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generation", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", choices=MODELS, action="append", help="may be repeated; default: both")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--cache_dir", default="cache")
    settings = parser.parse_args(args)
    rows = []
    for name in settings.model or MODELS:
        workload = Workload(name, CANDIDATES - 1, BATCH_SIZES[name], settings.cache_dir)
        data = workload.data_module()
        packed, model = workload.batch(data).packed, workload.base(data).eval()
        eos = data.tokenizer.eos_token_id
        written = greedy_tokens(model, packed, eos, MAX_NEW_TOKENS).numel()
        free = median_seconds(partial(greedy_tokens, model, packed, eos, MAX_NEW_TOKENS), settings.steps)
        bound = median_seconds(partial(constrained_choice, model, packed), settings.steps)
        rows.append(
            [
                name,
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
    main()
