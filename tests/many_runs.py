"""Runs of the command line one after the other, each in processes forked from one that has imported everything.

`python -m tests.many_runs FOLDER` makes the runs of `FOLDER/runs.json`.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.forked import run_python

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        name: Its folder.
        settings: Its config.
        args: More arguments.
        processes: Ranks.
        subcommand: Of train.py.
    """

    name: str
    settings: dict[str, Any]
    args: tuple[str, ...] = ()
    processes: int = 2
    subcommand: str = "fit"


def many_runs(folder: Path, *runs: Run, status: int = 0) -> list[str]:
    """Makes the runs; returns what rank 0 of each said, and fails unless every rank ended with a status."""
    (folder / "runs.json").write_text(json.dumps([asdict(run) for run in runs]))
    result = run_python("-m", "tests.many_runs", str(folder), timeout=1800)
    assert result.returncode == 0, result.stderr[-3000:]
    ended = json.loads((folder / "ended.json").read_text())
    for run, (statuses, output) in zip(runs, ended, strict=True):
        assert statuses == [status] * run.processes, f"{run.name}: {statuses}\n{output[-3000:]}"
    return [output for _, output in ended]


def main(folder: Path) -> None:
    """Makes the runs that are written down, and writes down how they ended."""
    from tests.faults.runs import Runner

    ended = []
    for run in json.loads((folder / "runs.json").read_text()):
        runner = Runner(folder, run["processes"])
        end = runner.fit(run["name"], run["settings"], *run["args"], subcommand=run["subcommand"])
        ended.append((end.statuses, end.output))
    (folder / "ended.json").write_text(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
