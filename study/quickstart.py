"""`make quickstart`: every stage on MovieLens-100k through the command line, then one table.

A finished stage is not repeated, an interrupted one is resumed; delete `outputs/quickstart` to start over.
"""

import argparse
import json
import sys
from pathlib import Path

from datamodules.errors import InputError
from datamodules.output_streams import outlive_readers
from datamodules.yaml_keys import require_distinct_keys
from study.stage import Stage
from study.summary import RunSummary, read_run, table

CONFIGS, OUTPUTS = Path("configs/quickstart"), Path("outputs/quickstart")

RULES = ("popularity", "cooccurrence")
STAGES = ("sft", "dmpo_k2", "dmpo", "dynamicpo")
NAMES = {
    "popularity": "popularity",
    "cooccurrence": "co-occurrence counts",
    "sft": "SFT",
    "dmpo_k2": "DMPO, K = 2",
    "dmpo": "DMPO, K = 15",
    "dynamicpo": "DynamicPO on DMPO, K = 15",
}


def main(args: list[str] | None = None) -> int:
    """Runs what is not finished and writes `outputs/quickstart/summary.json`.

    Args:
        args: Arguments to parse, of which there are none but `--help`; None takes the process's.

    Returns:
        The exit status: 0, or 2 where a run failed.
    """
    argparse.ArgumentParser(prog="python -m study.quickstart", description=__doc__).parse_args(args)
    try:
        _run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run() -> None:
    for name in NAMES:
        require_distinct_keys(CONFIGS / f"{name}.yaml")
    for name in (*RULES, *STAGES):
        if stage(name).is_finished:
            print(f"{OUTPUTS / name} is finished", flush=True)
        stage(name).finish()
    runs = {name: read_run(OUTPUTS / name) for name in NAMES}
    text = json.dumps({name: run.as_dict() for name, run in runs.items()}, indent=2)
    (OUTPUTS / "summary.json").write_text(text + "\n")
    print(_report(runs))


def stage(name: str) -> Stage:
    """One config; a rule that counts is not trained."""
    subcommands = ("fit", "test", "predict") if name in STAGES else ("test", "predict")
    after = (stage("sft"),) if name in STAGES[1:] else ()
    return Stage(OUTPUTS / name, (CONFIGS / f"{name}.yaml",), {}, subcommands, after)


def _report(runs: dict[str, RunSummary]) -> str:
    lines = [
        "",
        table({NAMES[name]: run for name, run in runs.items()}),
        "",
        f"{runs['sft'].examples} test examples of MovieLens-100k after a global time cut, 20 candidates each.",
        "[low, high] is a 95 % interval, for which users were resampled: examples of one user are dependent.",
        "Train losses of SFT and of a preference objective are different quantities.",
    ]
    best = max((name for name in STAGES), key=lambda name: runs[name].metrics["test/hit_ratio@1"])
    rule = max(RULES, key=lambda name: runs[name].metrics["test/hit_ratio@1"])
    gap = runs[best].metrics["test/hit_ratio@1"] - runs[rule].metrics["test/hit_ratio@1"]
    if gap < 0:
        lines.append(
            f"{NAMES[rule]} has a higher HR@1 than every model here, by {-gap:.3f} over {NAMES[best]}."
        )
    lines.append(f"Written to {OUTPUTS / 'summary.json'}.")
    return "\n".join(lines)


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
