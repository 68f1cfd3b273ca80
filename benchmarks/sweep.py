"""The second run of a sweep: reference log-probabilities on disk against a live reference.

    python -m benchmarks.sweep [--steps 100]

The quickstart's DMPO at K = 15 fills the cache; then DynamicPO at K = 7 is run with that cache and with a live
reference. The model is the quickstart's with random weights: time does not depend on them.
"""

import argparse
import tempfile
from typing import Any

from benchmarks.overhead import Actions, durations
from benchmarks.table import markdown
from datamodules.output_streams import outlive_readers

# Fills the cache, or opens it.
_FILL = "[LightningModule]PreferenceModule.on_train_start"

FIRST, SECOND = "configs/quickstart/dmpo.yaml", "configs/quickstart/dynamicpo.yaml"


def seconds_per_step(found: Actions, steps: int) -> float:
    """A run's time without imports: from the start of training to its end, filling the cache included."""
    return (sum(found["run_training_epoch"]) + sum(found[_FILL])) / steps


def main(args: list[str] | None = None) -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--cache_dir", default="cache")
    settings = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder:

        def run(config: str, **flags: Any) -> float:
            found = durations(config, settings.steps, settings.cache_dir, model__init_from="null", **flags)
            return seconds_per_step(found, settings.steps)

        first = run(FIRST, model__reference_cache=folder)
        second = run(SECOND, model__reference_cache=folder, data__num_negatives=7)
        live = run(SECOND, model__reference_cache="null", data__num_negatives=7)
    cells = [f"{first:.3f}", f"{second:.3f}", f"{live:.3f}", f"{live / second:.2f} ×", "≥ 1.25 ×"]
    head = (
        "first run, fills the cache, s/step",
        "second run, s/step",
        "live reference, s/step",
        "live / second",
        "wanted",
    )
    print(markdown(head, [cells]))


if __name__ == "__main__":
    outlive_readers()
    main()
