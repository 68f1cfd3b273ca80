"""Run every experiment of a grid.

    python -m study.run study/grid.yaml

Finished runs are skipped and interrupted ones are resumed, so the command can
be stopped and started again at any time. A run is repeated when its configs,
its settings or the run that it starts from changed; changes of the code are
not detected. Exit status 0, or 2 if the grid cannot be read or a run failed;
runs that do not depend on a failed one still run.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datamodules.errors import InputError
from datamodules.output_streams import outlive_readers
from study.grid import Grid, Part, Rule, read_grid
from study.plan import Cell, best_validation, chosen_rate, preference_stage, rule_stage, supervised_stage
from study.stage import Stage


@dataclass(frozen=True)
class Runner:
    """Run stages in parallel.

    Attributes:
        jobs: How many at a time; they share the processor's cores.
    """

    jobs: int

    def finish(self, title: str, stages: Iterable[Stage]) -> None:
        """Run all unfinished stages, and print the validation metric of each that is trained.

        Raises:
            InputError: A run failed; raised after all others have finished.
        """
        missing = [stage for stage in stages if not stage.is_finished]
        if not missing:
            return
        print(f"{title}: {len(missing)} runs to do", flush=True)
        threads = max(1, _cores() // self.jobs)

        def run(place: int) -> None:
            stage = missing[place]
            stage.folder.mkdir(parents=True, exist_ok=True)
            try:
                stage.finish(threads, stage.folder / "log.txt")
            except InputError as error:
                print(f"  {place + 1}/{len(missing)} {stage.folder.name} failed: {error}", flush=True)
                raise
            score = f": validation HR@1 {best_validation(stage.folder):.4f}" if stage.is_trained else ""
            print(f"  {place + 1}/{len(missing)} {stage.folder.name}{score}", flush=True)

        with ThreadPoolExecutor(self.jobs) as pool:
            runs = [pool.submit(run, place) for place in range(len(missing))]
            try:
                failures = [failure for each in runs if (failure := each.exception()) is not None]
            except KeyboardInterrupt:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        if failures:
            raise failures[0]


def run_supervised(grid: Grid, name: str, runner: Runner, seeds: Sequence[int]) -> None:
    """Train an SFT model for some seeds."""
    runner.finish(name, [supervised_stage(grid, name, seed) for seed in seeds])


def run_part(grid: Grid, name: str, part: Part, runner: Runner) -> None:
    """Find the learning rate of every cell, then run all seeds at it."""
    cells = [Cell(objective, k) for objective in part.objectives for k in part.num_negatives]
    run_supervised(grid, "sft", runner, range(part.seeds))
    rates = _rates(grid, name, part, runner, cells)
    runs = [preference_stage(grid, cell, rates[cell], seed) for seed in range(part.seeds) for cell in cells]
    runner.finish(f"{name}, seeds", runs)


def _rates(grid: Grid, name: str, part: Part, runner: Runner, cells: list[Cell]) -> dict[Cell, float]:
    """Return the part's own rate, or the one that validation chooses with seed 0."""
    if part.rate is not None:
        return dict.fromkeys(cells, part.rate)
    if part.rate_of is None:
        search = [
            preference_stage(grid, cell, rate, seed=0, tested=False) for cell in cells for rate in grid.rates
        ]
        runner.finish(f"{name}, learning rates", search)
    return {
        cell: chosen_rate(grid, Cell(part.rate_of or cell.objective, cell.num_negatives)) for cell in cells
    }


def available(name: str, model: Rule) -> bool:
    """Return whether all required files exist; print the first that does not."""
    if model.absent:
        print(f"{name} is left out: {model.absent[0]} is not there", flush=True)
    return not model.absent


def require_configs(grid: Grid) -> None:
    """Check that every config file of the grid exists, before anything is trained.

    Raises:
        InputError: One does not exist.
    """
    there = [model for model in (*grid.supervised.values(), *grid.rules.values()) if not model.absent]
    for path in (*grid.preference, *(path for model in there for path in model.configs)):
        if not Path(path).is_file():
            raise InputError(f"{path} is no file: the grid names it as a config")


def require_names(grid: Grid, given: Sequence[str] | None) -> None:
    """Check the names given to `--parts`.

    Raises:
        InputError: The grid has no such part.
    """
    known = [*grid.parts, *grid.supervised, "rules"]
    for name in given or ():
        if name not in known:
            raise InputError(f"--parts {name}: the grid has {', '.join(known)}")


def _work(grid: Grid, runner: Runner, wanted: Sequence[str] | None) -> Iterator[Callable[[], None]]:
    """Yield the jobs in order; a job fails if it needs a run that failed, and no other does."""
    for name, part in grid.parts.items():
        if wanted is None or name in wanted:
            yield partial(run_part, grid, name, part, runner)
    for name, model in grid.supervised.items():
        if (wanted is None or name in wanted) and available(name, model):
            yield partial(run_supervised, grid, name, runner, range(model.seeds))
    if wanted is None or "rules" in wanted:
        there = [name for name, rule in grid.rules.items() if available(name, rule)]
        yield partial(runner.finish, "rules", [rule_stage(grid, name) for name in there])


def _failure(job: Callable[[], None]) -> InputError | None:
    try:
        job()
    except InputError as error:
        return error
    return None


def _jobs(text: str) -> int:
    jobs = int(text)
    if jobs < 1:
        raise argparse.ArgumentTypeError(f"{jobs} is below 1")
    return jobs


def _cores() -> int:
    """Return how many cores this process may use, which `taskset` limits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(args: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Arguments to parse; None takes the process's.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m study.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", type=Path, help="YAML file of the grid, such as study/grid.yaml")
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=_cores(),
        help="number of parallel runs, which share the cores (default: all cores)",
    )
    parser.add_argument(
        "--parts", nargs="+", help="run only these parts or SFT models; `rules` for the counting baselines"
    )
    given = parser.parse_args(args)
    try:
        grid, runner = read_grid(given.grid), Runner(given.jobs)
        require_configs(grid)
        require_names(grid, given.parts)
        ended = [_failure(job) for job in _work(grid, runner, given.parts)]
        failures = [failure for failure in ended if failure is not None]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}: name other outputs in the grid", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: start it again to go on", file=sys.stderr)
        return 130
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    if failures:
        return 2
    print(f"everything is in {grid.outputs}")
    return 0


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
