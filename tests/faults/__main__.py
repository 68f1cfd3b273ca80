"""`python -m tests.faults`: makes everything go wrong, prints what came of it, writes it as JSON and Markdown."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from tests.faults import endings, extension_faults, faults, folder_faults, wandb_faults
from tests.faults.workload import Mode, Workload

Fault = Callable[[Workload, str, Mode, np.random.Generator], int]

_MODES = [Mode(processes, workers) for processes in (1, 2) for workers in (0, 2)]


@dataclass
class Row:
    """One fault.

    Attributes:
        fault: What happened.
        tried: How often.
        survived: How often everything was as it must be.
        lost: Steps that had to be done again, each time.
        failures: What was wrong.
    """

    fault: str
    tried: int = 0
    survived: int = 0
    lost: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def plan(quick: bool) -> Iterator[tuple[str, Fault, Mode]]:
    """Which fault happens how often in which mode; `quick` takes a few of them."""
    if quick:
        yield "SIGKILL at a random moment", faults.killed_at_a_random_moment, Mode(2, 2, stage=1)
        yield (
            "killed while writing a checkpoint",
            faults.killed_while_writing_a_checkpoint,
            Mode(1, 0, stage=2),
        )
        yield "SIGTERM or SIGUSR1", faults.asked_to_stop, Mode(2, 2, stage=1)
        return
    for title, fault, times in (
        ("SIGKILL at a random moment", faults.killed_at_a_random_moment, 20),
        ("SIGKILL after a backward pass", faults.killed_after_a_backward_pass, 2),
        ("SIGKILL in validation", faults.killed_in_validation, 3),
        ("killed while writing a checkpoint", faults.killed_while_writing_a_checkpoint, 4),
        ("SIGKILL before a checkpoint's rename", faults.killed_before_a_rename, 2),
        ("SIGTERM or SIGUSR1 at a random moment", faults.asked_to_stop, 4),
        ("SIGTERM or SIGUSR1 twice at a named point", faults.asked_twice_at_a_point, 2),
        ("Ctrl-C at a random moment", endings.interrupted, 2),
        ("Ctrl-C twice", endings.interrupted_twice, 2),
        ("terminal closed at a random moment", endings.terminal_closed, 2),
        ("last checkpoint torn or changed", faults.last_checkpoint_damaged, 2),
        ("full disk, warn and stop", faults.no_room_on_the_disk, 1),
        ("other number of processes", faults.other_number_of_processes, 1),
    ):
        for mode in _MODES:
            for time_ in range(times):
                yield title, fault, Mode(mode.processes, mode.workers, stage=1 + time_ % 2)
    for mode in _MODES:
        yield "extended", extension_faults.extended, Mode(mode.processes, mode.workers, stage=1)
        yield "extended", extension_faults.extended, Mode(mode.processes, mode.workers, stage=2)
    for processes in (1, 2):
        for _ in range(2):
            cached = Mode(processes, 0, stage=2)
            yield "extended, with a reference cache", extension_faults.extended_with_a_cache, cached
    for mode in _MODES:
        yield "killed twice, W&B offline", wandb_faults.training_killed, mode
    yield "W&B: no key", wandb_faults.no_key, Mode(1, 0)
    yield "W&B: no network", wandb_faults.no_network, Mode(2, 0)
    yield "W&B: network goes away", wandb_faults.network_goes_away, Mode(1, 0)
    yield "W&B: folder not writable", wandb_faults.no_folder, Mode(1, 0)
    for mode in _MODES[2:]:
        yield "one of two processes dies", faults.one_of_two_dies, mode
    for mode in (_MODES[0], _MODES[2]):
        yield "fast_dev_run in a run's folder", folder_faults.fast_dev_run, mode
        yield "fit again, three times, killed as it begins", folder_faults.fit_three_times, mode
        yield "two fits at once", folder_faults.two_at_once, mode
        yield "a start that fails", folder_faults.failed_start, mode


def run(folder: Path, quick: bool, only: str, seed: int) -> list[Row]:
    """Runs the plan, each fault under a seed of its own."""
    load, rows = Workload(folder), dict[str, Row]()
    for number, (title, fault, mode) in enumerate(plan(quick)):
        if only not in title:
            continue
        row = rows.setdefault(title, Row(title))
        row.tried += 1
        try:
            row.lost.append(fault(load, f"run-{number}", mode, np.random.default_rng([seed, number])))
            row.survived += 1
        except Exception as error:  # whatever it was, the rest of the table is wanted
            row.failures.append(f"{folder}/run-{number}, {mode}: {error!r:.3000}")
            print(row.failures[-1], file=sys.stderr)
        print(f"{number} {title}, {mode}: {row.survived} of {row.tried}", file=sys.stderr, flush=True)
    return list(rows.values())


def table(rows: list[Row]) -> str:
    """The same as Markdown."""
    lines = ["| fault | tried | survived | steps lost, mean | most |", "|---|---|---|---|---|"]
    for row in rows:
        mean, most = (f"{np.mean(row.lost):.1f}", max(row.lost)) if row.lost else ("", "")
        lines.append(f"| {row.fault} | {row.tried} | {row.survived} | {mean} | {most} |")
    return "\n".join(lines)


def main() -> None:
    """Parses the arguments and runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few faults, in half a minute")
    parser.add_argument("--only", default="", help="part of a fault's name")
    parser.add_argument("--seed", type=int, default=0, help="decides every random moment")
    parser.add_argument("--output", type=Path, default=Path("outputs/faults"), help="gets .json and .md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        rows = run(Path(folder), arguments.quick, arguments.only, arguments.seed)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.with_suffix(".json").write_text(json.dumps([asdict(row) for row in rows], indent=2))
    arguments.output.with_suffix(".md").write_text(table(rows) + "\n")
    print(table(rows))
    print(f"{time.perf_counter() - start:.0f} s, seed {arguments.seed}")
    sys.exit(any(row.failures for row in rows))


if __name__ == "__main__":
    main()
