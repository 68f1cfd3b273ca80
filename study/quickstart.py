"""`make quickstart`: every stage on MovieLens-100k through the command line, then one table.

A finished stage is not repeated, an interrupted one is resumed; delete `outputs/quickstart` to start over.
"""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

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


def main() -> None:
    """Runs what is not finished and writes `outputs/quickstart/summary.json`."""
    for name in (*RULES, *STAGES):
        run_stage(name)
    runs = {name: read_run(OUTPUTS / name) for name in NAMES}
    text = json.dumps({name: run.as_dict() for name, run in runs.items()}, indent=2)
    (OUTPUTS / "summary.json").write_text(text + "\n")
    print(_report(runs))


def run_stage(name: str) -> None:
    """Trains, tests and predicts one config, unless that very config is finished."""
    config, folder = CONFIGS / f"{name}.yaml", OUTPUTS / name
    finished = folder / "finished.json"
    fingerprint = hashlib.sha256(config.read_bytes()).hexdigest()
    if finished.is_file() and json.loads(finished.read_text())["config"] == fingerprint:
        print(f"{folder} is finished", flush=True)
        return
    start = time.perf_counter()
    checkpoint: list[str] = []
    if name in STAGES:
        resume = ["--ckpt_path", "last"] if _interrupted(folder, fingerprint) else []
        _train_py("fit", config, *resume)
        checkpoint = ["--ckpt_path", "best"]
    seconds = time.perf_counter() - start
    _train_py("test", config, *checkpoint)
    _train_py("predict", config, *checkpoint)
    finished.write_text(json.dumps({"config": fingerprint, "seconds": round(seconds, 1)}))


def _interrupted(folder: Path, fingerprint: str) -> bool:
    """Whether a run of the same config left a checkpoint; otherwise notes that one begins."""
    begun = folder / "begun.txt"
    if begun.is_file() and begun.read_text() == fingerprint and (folder / "checkpoints/last.ckpt").is_file():
        return True
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "finished.json").unlink(missing_ok=True)
    begun.write_text(fingerprint)
    return False


def _train_py(subcommand: str, config: Path, *args: str) -> None:
    command = [sys.executable, "train.py", subcommand, "--config", str(config), *args]
    print(f"\n$ python {' '.join(command[1:])}", flush=True)
    if status := subprocess.run(command).returncode:
        sys.exit(status)


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
            f"{NAMES[rule]} beats every model here, by {-gap:.3f} over {NAMES[best]}: a small demonstration."
        )
    lines.append(f"Written to {OUTPUTS / 'summary.json'}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
