"""Group runs that differ in the seed alone, and choose a learning rate on validation."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from study.estimates import Estimate, estimate
from study.runs import Curve, Ranks, Run
from study.settings import Setting

SELECTED_ON = "val/hit_ratio@1"
HIT = "hit_ratio@1"

_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True)
class Cell:
    """Runs of one setting.

    Attributes:
        setting: Theirs.
        runs: By seed, no seed twice, all on the same examples.
    """

    setting: Setting
    runs: tuple[Run, ...]

    @cached_property
    def ranks(self) -> dict[int, Ranks]:
        """Seed to ranks, of the runs that predicted."""
        return {run.seed: run.ranks for run in self.runs if run.ranks is not None}

    def estimate(self, metric: str = HIT) -> Estimate:
        """Estimate a test metric over the seeds with predictions, of which there must be one."""
        users = next(iter(self.ranks.values())).users
        values = np.stack([ranks.metrics[metric] for ranks in self.ranks.values()])
        return estimate(values, users).within(0, 1)

    def curve(self, metric: str) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """Return a metric of all runs at their common steps: steps [N] and values [seeds, N]; None without any."""
        curves = [run.curves[metric] for run in self.runs if metric in run.curves]
        steps = _shared([set(curve.steps.tolist()) for curve in curves])
        if not steps:
            return None
        return np.array(steps), np.stack([_at(curve, steps) for curve in curves])

    @property
    def validated_seeds(self) -> set[int]:
        """Seeds of the runs that were validated."""
        return {run.seed for run in self.runs if SELECTED_ON in run.curves}

    def validated(self, seeds: Iterable[int]) -> float:
        """Return the mean over the given seeds of the best checkpoint's validation metric; NaN without any."""
        wanted = set(seeds)
        best = [run.best(SELECTED_ON) for run in self.runs if run.seed in wanted]
        known = [value for value in best if value is not None]
        return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True)
class Arm:
    """Cells that differ in the learning rate alone.

    Attributes:
        cells: By learning rate.
        chosen: The one whose best checkpoints do best on validation, over the seeds that all rates were tried with
            (over each rate's own where there are none); the lowest rate of equals, and where nothing was validated.
    """

    cells: tuple[Cell, ...]
    chosen: Cell

    @property
    def setting(self) -> Setting:
        """That of the chosen cell."""
        return self.chosen.setting

    @property
    def is_choice(self) -> bool:
        """Whether validation chose among several rates."""
        return len(self.cells) > 1 and any(cell.validated_seeds for cell in self.cells)

    @cached_property
    def seeds_of_choice(self) -> list[int]:
        """Seeds that every rate was tried with."""
        return _shared([cell.validated_seeds for cell in self.cells])


def at_same_rates(arms: Sequence[Arm]) -> Iterator[tuple[float | None, tuple[Cell, ...]]]:
    """Yield cells of all arms that can be compared.

    Args:
        arms: At least one.

    Yields:
        None and the cells at the rates that validation chose; then a rate and the cells at it, for every other one
        that all arms were tried with.
    """
    chosen = tuple(arm.chosen for arm in arms)
    yield None, chosen
    by_rate = [{cell.setting.learning_rate: cell for cell in arm.cells} for arm in arms]
    for rate in by_rate[0]:
        cells = tuple(own[rate] for own in by_rate if rate in own)
        if len(cells) == len(arms) and any(
            cell is not other for cell, other in zip(cells, chosen, strict=True)
        ):
            yield rate, cells


def cells_of(runs: list[Run]) -> tuple[list[Cell], list[str]]:
    """Group runs by setting.

    Returns:
        The cells, and a line for every run that is left out because a run of its setting and seed is there already or
        because it was tested on other examples than most of its cell.
    """
    cells, left_out = [], []
    for setting, group in grouped(sorted(runs, key=lambda run: run.name), lambda run: run.setting).items():
        kept: dict[int, Run] = {}
        examples = Counter(run.ranks.examples for run in group if run.ranks is not None).most_common(1)
        for run in sorted(group, key=lambda run: run.ranks is None):
            if run.ranks is not None and run.ranks.examples != examples[0][0]:
                left_out.append(f"{run.name}: other test examples than {kept[min(kept)].name}: left out")
            elif run.seed in kept:
                left_out.append(f"{run.name}: setting and seed of {kept[run.seed].name}: left out")
            else:
                kept[run.seed] = run
        cells.append(Cell(setting, tuple(kept[seed] for seed in sorted(kept))))
    return cells, left_out


def arms_of(cells: list[Cell]) -> list[Arm]:
    """Group cells that differ in the learning rate, and choose one on validation alone."""
    arms = []
    for group in grouped(cells, lambda cell: replace(cell.setting, learning_rate=None)).values():
        tried = sorted(group, key=lambda cell: cell.setting.learning_rate or 0.0)
        common = _shared([cell.validated_seeds for cell in tried])
        means = [cell.validated(common or cell.validated_seeds) for cell in tried]
        chosen = tried[int(np.argmax(np.nan_to_num(means, nan=-1.0)))]
        arms.append(Arm(tuple(tried), chosen))
    return arms


def paired(first: Cell, second: Cell, metric: str = HIT) -> Estimate | None:
    """Estimate second − first on the same seeds and examples; None if they share no seed or differ in examples."""
    return contrast([second], [first], metric)


def contrast(added: Sequence[Cell], subtracted: Sequence[Cell], metric: str = HIT) -> Estimate | None:
    """Estimate the sum of some cells − the sum of others on the seeds and examples of all.

    Args:
        added: At least one.
        subtracted: Perhaps none.
        metric: Which.

    Returns:
        The estimate; None where they share no seed or differ in examples.
    """
    cells = [*added, *subtracted]
    seeds = _shared([set(cell.ranks) for cell in cells])
    if not seeds or len({cell.ranks[seeds[0]].examples for cell in cells}) > 1:
        return None
    signs = [1] * len(added) + [-1] * len(subtracted)
    values = [
        sum(sign * cell.ranks[seed].metrics[metric] for sign, cell in zip(signs, cells, strict=True))
        for seed in seeds
    ]
    found = estimate(np.stack(values), cells[0].ranks[seeds[0]].users)
    return found.within(-len(subtracted), len(added))


def paired_by_target(first: Cell, second: Cell, metric: str = HIT) -> Estimate | None:
    """Estimate second − first on the same seeds and the ids of both, whatever their candidate lists.

    Args:
        first: On one data set.
        second: On the same, whose ids are the same examples.
        metric: Which.

    Returns:
        The estimate; None where they share no seed, or the ids that both have are of fewer than two users.
    """
    seeds = sorted(first.ranks.keys() & second.ranks.keys())
    pairs = [(first.ranks[seed], second.ranks[seed]) for seed in seeds]
    if not pairs:
        return None
    _, mine, yours = np.intersect1d(pairs[0][0].ids, pairs[0][1].ids, return_indices=True)
    users = pairs[0][0].users[mine]
    if len(np.unique(users)) < 2:
        return None
    differences = [b.metrics[metric][yours] - a.metrics[metric][mine] for a, b in pairs]
    return estimate(np.stack(differences), users).within(-1, 1)


def grouped(items: Iterable[_T], key: Callable[[_T], _K]) -> dict[_K, list[_T]]:
    """Return items by key, in their order."""
    groups: dict[_K, list[_T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def _shared(sets: list[set[int]]) -> list[int]:
    return sorted(set.intersection(*sets)) if sets else []


def _at(curve: Curve, steps: list[int]) -> NDArray[np.float64]:
    return curve.values[np.searchsorted(curve.steps, steps)]
