"""`make seeds`: DynamicPO against DMPO at K = 15 over three seeds of preference training, paired by example.

Seed 0 is the quickstart's; the others start from the same SFT model and differ in the order of examples, the negatives
and the draws.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.compare import metrics_of, read_predictions, require_same_examples
from study.statistics import bootstrap_interval

SEEDS = (0, 1, 2)
BASE, TREATMENT = "dmpo", "dynamicpo"
OUTPUTS = Path("outputs")
# The 97.5 % quantile of Student's t with two degrees of freedom (three seeds), whose distribution function has a
# closed form: 1/2 + t / (2 √(2 + t²)).
_T = 0.95 * (2 / (1 - 0.95**2)) ** 0.5


def main() -> None:
    """Runs what is missing and prints the differences."""
    for seed in SEEDS:
        for name in (BASE, TREATMENT):
            if not (folder(name, seed) / "predictions.parquet").is_file():
                run(name, seed)
    tables = {
        (name, seed): read_predictions(path(name, seed)) for name in (BASE, TREATMENT) for seed in SEEDS
    }
    for seed in SEEDS:
        require_same_examples(tables[BASE, seed], tables[TREATMENT, seed])
    hits = {
        key: metrics_of(table["rank"].to_numpy())["hit_ratio@1"].astype(float)
        for key, table in tables.items()
    }
    users = np.array(tables[BASE, 0]["user"].to_pylist())
    print(
        report(np.stack([hits[BASE, s] for s in SEEDS]), np.stack([hits[TREATMENT, s] for s in SEEDS]), users)
    )


def folder(name: str, seed: int) -> Path:
    """Where a run is; the quickstart's own for seed 0."""
    return OUTPUTS / "quickstart" / name if seed == 0 else OUTPUTS / "seeds" / f"{name}-{seed}"


def path(name: str, seed: int) -> Path:
    """A run's predictions."""
    return folder(name, seed) / "predictions.parquet"


def run(name: str, seed: int) -> None:
    """Trains and predicts through the command line."""
    config = f"configs/quickstart/{name}.yaml"
    settings = ["--seed_everything", str(seed), "--trainer.default_root_dir", str(folder(name, seed))]
    for subcommand, checkpoint in (("fit", []), ("predict", ["--ckpt_path", "best"])):
        command = [sys.executable, "train.py", subcommand, "--config", config, *settings, *checkpoint]
        if status := subprocess.run(command).returncode:
            sys.exit(status)


def report(base: NDArray[np.float64], treatment: NDArray[np.float64], users: NDArray[np.str_]) -> str:
    """Says the paired differences in hit_ratio@1.

    Two intervals answer two questions: Student's over the seeds' means (would other seeds agree?), and the bootstrap
    over users of the mean over seeds (would other users agree?).

    Args:
        base: Hits of the base objective, shape [seeds, examples].
        treatment: Hits of DynamicPO, same shape.
        users: User of every example, shape [examples].
    """
    difference = treatment - base
    by_seed = difference.mean(axis=1)
    mean, half = by_seed.mean(), _T * by_seed.std(ddof=1) / len(by_seed) ** 0.5
    low, high = bootstrap_interval(difference.mean(axis=0), users, seed=0)
    lines = ["seed     DMPO  DynamicPO  difference"]
    for seed, first, second in zip(SEEDS, base.mean(axis=1), treatment.mean(axis=1), strict=True):
        lines.append(f"{seed:<6}  {first:.4f}  {second:9.4f}  {second - first:+10.4f}")
    lines.append(f"mean    {base.mean():.4f}  {treatment.mean():9.4f}  {mean:+10.4f}")
    lines.append(
        f"95 % interval over seeds (Student, 2 degrees of freedom): {mean - half:+.4f} to {mean + half:+.4f}"
    )
    lines.append(f"95 % interval over users (bootstrap of the mean over seeds): {low:+.4f} to {high:+.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
