"""What is left of a run, and whether it equals another's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lightning_modules.checkpoint_files import is_whole, read_whole


@dataclass(frozen=True)
class Samples:
    """What a rank trained on.

    Attributes:
        by_step: (example ids, items) of every step, as it was seen last.
        reached: The last step begun.
        repeated_alike: Whether a step that was done again saw what it had seen.
        calls: Python calls of the last start, where they were counted.
    """

    by_step: dict[int, Any]
    reached: int
    repeated_alike: bool
    calls: int


def samples(folder: Path, rank: int) -> Samples:
    by_step: dict[int, Any] = {}
    alike, calls, step = True, 0, 0
    path = folder / f"samples-{rank}.jsonl"
    for line in path.read_text().splitlines() if path.is_file() else []:
        entry = json.loads(line)
        calls = entry.get("calls", calls)
        if "step" in entry:
            step = entry["step"]
            seen = (entry["ids"], entry["items"])
            alike &= by_step.get(step, seen) == seen
            by_step[step] = seen
    return Samples(by_step, step, alike, calls)


def saved_step(folder: Path) -> int:
    """The step that a resume would go on from; 0 where there is no checkpoint yet."""
    for name in ("last", "previous"):
        path = folder / "checkpoints" / f"{name}.ckpt"
        if path.is_file() and is_whole(path):
            step: int = read_whole(path)["global_step"]
            return step
    return 0


def lost_steps(folder: Path) -> int:
    """Steps that a resume would have to do again, the one in hand included."""
    return samples(folder, 0).reached + 1 - saved_step(folder)


def differences(
    folder: Path, whole: Path, processes: int, checkpoints: Sequence[str] = ("last", "best")
) -> list[str]:
    """Names what differs between two finished runs, to the bit."""
    found = []
    for name in checkpoints:
        both = [read_whole(path / f"checkpoints/{name}.ckpt") for path in (whole, folder)]
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
            if not _equal(both[0][part], both[1][part]):
                found.append(f"{name}.ckpt: {part}")
    if (folder / "metrics.csv").read_bytes() != (whole / "metrics.csv").read_bytes():
        found.append("metrics.csv")
    for rank in range(processes):
        expected, seen = samples(whole, rank), samples(folder, rank)
        if expected.by_step != seen.by_step or not seen.repeated_alike:
            found.append(f"samples of rank {rank}")
    return found


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
