"""One preference step, ours against the usual way and TRL's, side by side: time, memory, and the same loss.

    python -m benchmarks.step [--json] [--model smollm2|quickstart] [--k 1,3,7,15,19]

Forward, backward and reference; no optimiser. Every measurement is a process of its own. With `--json` standard
output holds one object, model → K → numbers, and the tables go to standard error.
"""

import argparse
import importlib.util
import json
import sys
from dataclasses import replace

from benchmarks.agreement import Disagreement, require_agreement
from benchmarks.measure import Measurement, Timing, measure_apart
from benchmarks.table import Row, Rows, bars, table, trl_line
from benchmarks.workload import BATCH_SIZES, MODELS, Workload
from datamodules.errors import InputError
from datamodules.output_streams import outlive_readers


def measure_row(workload: Workload, timing: Timing) -> Row:
    """Measures all ways at one K and checks that they agree.

    Raises:
        Disagreement: Two ways compute different losses or gradients.
        RuntimeError: Our way ran out of memory, or any failed otherwise.
    """
    ours, cached = (_required(way, workload, timing) for way in ("ours", "ours_cached"))
    require_agreement("ours, cached", ours, cached)
    usual = measure_apart("usual", workload, timing)
    if usual and not require_agreement("the usual way", ours, usual):
        _say("  the usual k-means selected other negatives: the loss was compared on its selection")
    trl = None
    if workload.num_negatives == 1 and importlib.util.find_spec("trl"):
        trl = measure_apart("trl", workload, timing)
    if trl:
        require_agreement("TRL", ours, trl)
    return Row(ours, cached, usual, trl)


def _required(way: str, workload: Workload, timing: Timing) -> Measurement:
    found = measure_apart(way, workload, timing)
    if found is None:
        raise RuntimeError(f"{way} ran out of memory on {workload}: there is nothing to compare with")
    return found


def measure_model(workload: Workload, negatives: list[int], timing: Timing) -> Rows:
    """Measures one model at every K."""
    workload.data_module()  # so that no measured process builds or fetches anything
    rows = {}
    for k in negatives:
        rows[k] = measure_row(replace(workload, num_negatives=k), timing)
        numbers = ((name, value) for name, value in rows[k].as_dict().items() if value is not None)
        _say(f"{workload.model} K = {k}: " + ", ".join(f"{name} {value:.4g}" for name, value in numbers))
    return rows


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object; tables go to standard error"
    )
    parser.add_argument("--model", choices=MODELS, action="append", help="may be repeated; default: both")
    parser.add_argument("--k", default="1,3,7,15,19", help="numbers of negatives, separated by commas")
    parser.add_argument("--batch_size", type=int, help="prompts; default: 2 for smollm2, 32 for quickstart")
    parser.add_argument("--steps", type=int, default=Timing.steps, help="steps timed, after one that is not")
    parser.add_argument(
        "--seconds", type=float, default=Timing.seconds, help="short steps repeat for this long"
    )
    parser.add_argument("--data", help="folder of RecBole files; default: MovieLens-100k")
    parser.add_argument("--cache_dir", default="cache")
    return parser


def run(args: list[str] | None) -> None:
    """Measures and prints."""
    settings = _parser().parse_args(args)
    negatives = [int(k) for k in settings.k.split(",")]
    timing = Timing(steps=settings.steps, seconds=settings.seconds)
    results = {}
    for model in settings.model or MODELS:
        size = settings.batch_size or BATCH_SIZES[model]
        workload = Workload(model, max(negatives), size, settings.cache_dir, settings.data)
        results[model] = measure_model(workload, negatives, timing)
    out = sys.stderr if settings.json else sys.stdout
    for model, rows in results.items():
        print(f"\n{model}\n\n{table(rows)}\n\n{trl_line(rows)}\n\n{bars(rows)}", file=out)
    if settings.json:
        plain = {model: {str(k): row.as_dict() for k, row in rows.items()} for model, rows in results.items()}
        print(json.dumps(plain, indent=2))


def main(args: list[str] | None = None) -> None:
    """Runs the command line."""
    try:
        run(args)
    except (InputError, Disagreement) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)


if __name__ == "__main__":
    outlive_readers()
    main()
