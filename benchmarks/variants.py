"""The same preference step in float32, under bfloat16 autocast, and compiled: which of them pays on this machine.

    python -m benchmarks.variants [--model smollm2|quickstart]

*First* is the first step, compiling included. Shapes change from batch to batch, so it is compiled for dynamic ones.
"""

import time

import torch

from benchmarks.measure import median_seconds
from benchmarks.table import markdown
from benchmarks.ways import Step, ours
from benchmarks.workload import requested
from datamodules.output_streams import outlive_readers
from lightning_modules.language_model import causal_lm

NEGATIVES = 15


def seconds(step: Step, bfloat16: bool, steps: int) -> tuple[float, float]:
    """Times the first step, and a step after it."""

    def run() -> None:
        step.trained.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            outcome = step.forward()
        torch.autograd.backward(outcome.loss)

    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    return first, median_seconds(run, steps)


def main(args: list[str] | None = None) -> None:
    """Measures and prints a table."""
    workloads, steps = requested("benchmarks.variants", str(__doc__), NEGATIVES, 5, args)
    rows = []
    for workload in workloads:
        plain = 0.0
        for compiled in (False, True):
            for bfloat16 in (False, True):
                step = ours(workload)
                if compiled:
                    causal_lm(step.trained.policy).get_decoder().compile(dynamic=True)
                first, later = seconds(step, bfloat16, steps)
                plain = plain or later
                precision = "bfloat16 autocast" if bfloat16 else "float32"
                cells = [
                    "yes" if compiled else "no",
                    f"{first:.1f}",
                    f"{later:.3f}",
                    f"{plain / later:.2f} ×",
                ]
                rows.append([workload.model, precision, *cells])
    head = ("model", "precision", "compiled", "first, s", "step, s", "against float32")
    print(markdown(head, rows))


if __name__ == "__main__":
    outlive_readers()
    main()
