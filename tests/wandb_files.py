"""W&B's own reader of a run's files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def inspect(*arguments: str) -> str:
    """What `wandb leet inspect` prints."""
    command = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def segments(folder: Path) -> list[Path]:
    """A file a start, earlier starts first."""
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"))


def records(segment: Path, kind: str) -> list[dict[str, Any]]:
    """A start's records of one kind, such as `history` or `alert`."""
    found = map(json.loads, inspect("--json", str(segment)).splitlines())
    return [record[kind] for record in found if record["type"] == kind]
