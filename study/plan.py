"""From a grid to runs, and the choice of a learning rate on validation alone."""

from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from study.grid import Grid
from study.runs import read_metrics
from study.stage import Stage

_MONITOR = "val/hit_ratio@1"


@dataclass(frozen=True, order=True)
class Cell:
    """What gets a learning rate of its own.

    Attributes:
        objective: Its name in the grid.
        num_negatives: K.
    """

    objective: str
    num_negatives: int


def rule_stage(grid: Grid, name: str) -> Stage:
    """Return the test of a counting baseline."""
    rule, folder = grid.rules[name], Path(grid.outputs) / name
    settings = _merged(rule.settings, _run(folder, 0))
    return Stage(folder, tuple(map(Path, rule.configs)), settings, ("test", "predict"))


def supervised_stage(grid: Grid, name: str, seed: int) -> Stage:
    """Return the training of an SFT model."""
    model = grid.supervised[name]
    folder = Path(grid.outputs) / f"{name}-s{seed}"
    settings = _merged(model.settings, _run(folder, seed))
    return Stage(folder, tuple(map(Path, model.configs)), settings)


def preference_stage(grid: Grid, cell: Cell, rate: float, seed: int, tested: bool = True) -> Stage:
    """Return a preference run that starts from the SFT model of the same seed.

    Args:
        grid: The study.
        cell: Objective and K.
        rate: The learning rate.
        seed: Of the run and of its SFT model.
        tested: Whether its best checkpoint ranks the test examples.
    """
    folder = Path(grid.outputs) / f"{cell.objective}-k{cell.num_negatives}-lr{_digits(rate)}-s{seed}"
    start = supervised_stage(grid, "sft", seed)
    init = {
        "init_from": str(start.folder / "checkpoints/best.ckpt"),
        "objective": grid.objectives[cell.objective],
        "optimizer": {"init_args": {"lr": rate}},
    }
    asked = {"model": {"init_args": init}, "data": {"init_args": {"num_negatives": cell.num_negatives}}}
    settings = _merged(_merged(grid.settings, asked), _run(folder, seed))
    subcommands = ("fit", "predict") if tested else ("fit",)
    return Stage(folder, tuple(map(Path, grid.preference)), settings, subcommands, (start,))


def chosen_rate(grid: Grid, cell: Cell) -> float:
    """Return the rate whose run with seed 0 has the best validation hit_ratio@1; the lowest of equals.

    Raises:
        InputError: A run has no validation yet.
    """
    runs = {rate: preference_stage(grid, cell, rate, seed=0).folder for rate in sorted(grid.rates)}
    return max(runs, key=lambda rate: best_validation(runs[rate]))


def best_validation(folder: Path) -> float:
    """Return the best validation hit_ratio@1 of a run, that of its `best.ckpt`.

    Raises:
        InputError: The run has none.
    """
    try:
        return max(line[_MONITOR] for line in read_metrics(folder / "metrics.csv") if _MONITOR in line)
    except (InputError, ValueError) as error:
        raise InputError(f"{folder} has no {_MONITOR}: run it first") from error


def _digits(rate: float) -> str:
    """Format a rate with all digits, as 1e-03 or 2.5e-04, so that two rates never share a folder."""
    mantissa, exponent = f"{Decimal(repr(rate)).normalize():e}".split("e")
    return f"{mantissa}e{int(exponent):+03d}"


def _run(folder: Path, seed: int) -> dict[str, Any]:
    return {"seed_everything": seed, "trainer": {"default_root_dir": str(folder)}}


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Merge nested settings; the second override the first."""
    merged = deepcopy(first)
    for name, value in second.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else deepcopy(value)
    return merged
