"""Resident memory of training SmolLM2-135M through the command line, with gradient checkpointing and without.

    python -m benchmarks.memory [--steps 10] [--batch_size 4] [--cache_dir cache]

`configs/smollm2/dynamicpo.yaml`: LoRA of rank 8, K = 15, AdamW, MovieLens-100k; the reference is computed at every
step, from random adapters, on whose values memory does not depend. Each run is a process of its own, and its peak is
what the system says of it at its end: imports, data, loading the model, training and saving a checkpoint.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.table import markdown
from datamodules.output_streams import outlive_readers
from lightning_modules.smollm2 import fetch_smollm2

ROOT = Path(__file__).parents[1]
CONFIG = "configs/smollm2/dynamicpo.yaml"

# GB that a run may take, by whether gradients are checkpointed.
BARS = {True: 5.0, False: 7.5}


def peak_gb(config: str, checkpointing: bool, **settings: Any) -> float:
    """Trains in a fresh process and returns its peak resident memory, in GB.

    Args:
        config: A config of stage 2.
        checkpointing: Whether gradients are checkpointed.
        **settings: Further flags of the command line, `__` for a dot.

    Raises:
        RuntimeError: Training failed.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        flags = {
            "config": config,
            "trainer.default_root_dir": folder,
            "trainer.limit_val_batches": 0,
            "wandb.mode": "disabled",
            "model.init_from": "null",
            "model.reference_cache": "null",
            "model.gradient_checkpointing": str(checkpointing).lower(),
            **{name.replace("__", "."): value for name, value in settings.items()},
        }
        arguments = [f"--{name}={value}" for name, value in flags.items()]
        command = [sys.executable, "train.py", "fit", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)  # of this child alone, unlike RUSAGE_CHILDREN
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(
                f"{config} ended with status {process.returncode}:\n{output.read()[-4000:].decode()}"
            )
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / 1e9


def main(args: list[str] | None = None) -> None:
    """Measures both and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--cache_dir", type=Path, default=Path("cache"))
    settings = parser.parse_args(args)
    cache = settings.cache_dir.resolve()
    model = fetch_smollm2(cache)
    flags = {
        "trainer__max_steps": settings.steps,
        "data__batch_size": settings.batch_size,
        "data__cache_dir": cache,
        "data__tokenizer": model,
        "model__language_model__name": model,
    }
    rows = [
        [str(checkpointing).lower(), f"{peak_gb(CONFIG, checkpointing, **flags):.2f}", f"≤ {bar}"]
        for checkpointing, bar in BARS.items()
    ]
    print(markdown(("gradient_checkpointing", "peak, GB", "wanted"), rows))


if __name__ == "__main__":
    outlive_readers()
    main()
