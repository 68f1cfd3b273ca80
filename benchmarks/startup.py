"""From the start of the command to the end of its first step, against the imports nobody can avoid.

    python -m benchmarks.startup [--cache_dir cache]

The data are built before the clock starts, and the disk is warm: the first of the repetitions does not count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from benchmarks.table import markdown
from benchmarks.workload import Workload
from datamodules.output_streams import outlive_readers

ROOT = Path(__file__).parents[1]
_MARK = "first step ended at "


class EndAfterFirstStep(pl.Callback):
    """Says when the first step ended and ends the process there."""

    def on_train_batch_end(self, *args: Any) -> None:
        """Prints the wall clock; nothing is torn down."""
        print(f"{_MARK}{time.time()}", flush=True)
        os._exit(0)


def seconds_to_first_step(cache_dir: str) -> float:
    """Runs the quickstart's first stage until its first step has ended."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["fit", "--config", "configs/quickstart/sft.yaml", "--wandb.mode", "disabled"]
        arguments += [
            "--trainer.default_root_dir",
            folder,
            "--data.cache_dir",
            str(Path(cache_dir).resolve()),
        ]
        arguments += ["--trainer.enable_progress_bar", "false"]
        arguments += ["--trainer.callbacks+", "benchmarks.startup.EndAfterFirstStep"]
        start = time.time()
        done = subprocess.run(
            [sys.executable, "train.py", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
        )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    return float(line.removeprefix(_MARK)) - start


def seconds_to_import() -> float:
    """Starts Python and imports torch, transformers and Lightning, of transformers what every run needs."""
    imports = "import torch, lightning.pytorch; from transformers import LlamaForCausalLM, AutoTokenizer"
    start = time.time()
    subprocess.run([sys.executable, "-c", imports], check=True, capture_output=True)
    return time.time() - start


def main(args: list[str] | None = None) -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=3, help="repetitions")
    parser.add_argument("--cache_dir", default="cache")
    settings = parser.parse_args(args)
    Workload("quickstart", 0, 64, settings.cache_dir).data_module()
    whole, imports = [], []
    for _ in range(settings.steps + 1):
        whole.append(seconds_to_first_step(settings.cache_dir))
        imports.append(seconds_to_import())
    first, alone = statistics.median(whole[1:]), statistics.median(imports[1:])
    cells = [f"{first:.1f}", f"{alone:.1f}", f"{first - alone:.1f}", "≤ 5"]
    print(markdown(("start to first step, s", "imports alone, s", "difference, s", "wanted"), [cells]))


if __name__ == "__main__":
    outlive_readers()
    main()
