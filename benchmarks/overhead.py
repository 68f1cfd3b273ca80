"""Where the quickstart's training time goes: the model, or what stands around it.

    python -m benchmarks.overhead [--steps 100] [--config configs/quickstart/dmpo.yaml]

Lightning's own profiler times the run's hooks. *Model* is the optimiser's step with forward and backward inside it; the
rest is data loading, callbacks, logging and Lightning itself. Validation is off. A preference config starts from
random weights: time does not depend on them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lightning.pytorch.profilers import SimpleProfiler

from benchmarks.table import markdown
from datamodules.output_streams import outlive_readers

ROOT = Path(__file__).parents[1]
CONFIGS = ("configs/quickstart/sft.yaml", "configs/quickstart/dmpo.yaml", "configs/quickstart/dynamicpo.yaml")


Actions = dict[str, list[float]]

_WARMUP = 10


class Durations(SimpleProfiler):
    """Writes what every action took.

    Args:
        path: JSON file, action → seconds of every call.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)

    def teardown(self, stage: str | None) -> None:
        """Writes the file; called when the run ends."""
        self._path.write_text(json.dumps(self.recorded_durations))
        super().teardown(stage)


def durations(config: str, steps: int, cache_dir: str, **settings: Any) -> Actions:
    """Trains for some steps and reads what the profiler saw.

    Args:
        config: A config of the quickstart.
        steps: Length of the run.
        cache_dir: Where downloads and built examples are kept.
        **settings: Further flags of the command line, `__` for a dot.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "durations.json"
        flags = {
            "config": config,
            "trainer.default_root_dir": folder,
            "trainer.max_steps": steps,
            "trainer.limit_val_batches": 0,
            "trainer.profiler": "benchmarks.overhead.Durations",
            "trainer.profiler.path": path,
            "data.cache_dir": cache_dir,
            **{name.replace("__", "."): value for name, value in settings.items()},
        }
        arguments = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
        subprocess.run(
            [sys.executable, "train.py", "fit", *arguments], cwd=ROOT, check=True, capture_output=True
        )
        found: Actions = json.loads(path.read_text())
        return found


def shares(found: Actions) -> dict[str, float]:
    """Splits the time of the steps after the first ten, which warm up.

    Returns:
        `step`, seconds; and the shares of it that are spent in the `model`, in loading `data`, and in `callbacks`,
        loggers and Lightning's loop.
    """

    def warmup(name: str) -> float:
        return sum(sum(times[:_WARMUP]) for action, times in found.items() if name in action)

    def after(name: str) -> float:
        return sum(sum(times[_WARMUP:]) for action, times in found.items() if name in action)

    steps = len(found["run_training_batch"]) - _WARMUP
    (epoch,) = found["run_training_epoch"]
    early = warmup("run_training_batch") + warmup("train_dataloader_next") + warmup("on_train_batch_end")
    whole, data, batch = epoch - early, after("train_dataloader_next"), after("run_training_batch")
    return {
        "step": whole / steps,
        "model": after("optimizer_step") / whole,
        "data": data / whole,
        "callbacks": (whole - data - batch) / whole,
    }


def main(args: list[str] | None = None) -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__.split("\n")[0])
    parser.add_argument("--config", action="append", help="may be repeated; default: the quickstart's")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--cache_dir", default="cache")
    settings = parser.parse_args(args)
    rows = []
    for config in settings.config or CONFIGS:
        start = {} if "sft" in config else {"model__init_from": "null", "model__reference_cache": "null"}
        part = shares(durations(config, settings.steps, settings.cache_dir, **start))
        outside = 1 - part["model"]
        rows.append(
            [
                config,
                f"{part['step']:.3f}",
                f"{outside:.1%}",
                f"{part['data']:.1%}",
                f"{part['callbacks']:.1%}",
            ]
        )
    print(markdown(("config", "step, s", "not in the model (≤ 10 %)", "data", "callbacks (≤ 2 %)"), rows))


if __name__ == "__main__":
    outlive_readers()
    main()
