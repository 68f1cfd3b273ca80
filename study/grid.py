"""What a study runs: a grid, read from one YAML file."""

import math
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from datamodules.errors import InputError
from datamodules.yaml_keys import require_distinct_keys


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule that counts, tested and not trained.

    Attributes:
        configs: Config files, later ones over earlier ones.
        settings: Changes to the configs, nested as in them.
        requires: Files without which this is left out; all others have to be there.
    """

    configs: list[str]
    settings: dict[str, Any] = field(default_factory=dict)
    requires: list[str] = field(default_factory=list)

    @property
    def absent(self) -> list[str]:
        """What it requires and is not there."""
        return [path for path in self.requires if not Path(path).exists()]


@dataclass(frozen=True, kw_only=True)
class Supervised(Rule):
    """An SFT model, trained once for every seed.

    Attributes:
        seeds: How many: 0, 1, …
    """

    seeds: int


@dataclass(frozen=True)
class Part:
    """Preference runs: every objective at every K, from the SFT model of the same seed.

    Attributes:
        objectives: Names among the grid's objectives.
        num_negatives: The values of K.
        seeds: How many: 0, 1, …
        rate_of: Take the rate that was chosen for this objective, at the same K; None chooses one for each.
        rate: Take this rate.
    """

    objectives: list[str]
    num_negatives: list[int]
    seeds: int
    rate_of: str | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Grid:
    """A study.

    Attributes:
        outputs: Where the runs' folders are put.
        supervised: SFT models; the preference runs start from the one called `sft`.
        preference: Config files of a preference run.
        settings: Changes to them, nested as in them.
        rates: Learning rates among which validation chooses, for every objective and K, with seed 0.
        objectives: Class paths and arguments, as in a config.
        parts: Run in this order.
        rules: Tested beside the models.
    """

    outputs: str
    supervised: dict[str, Supervised]
    preference: list[str]
    settings: dict[str, Any]
    rates: list[float]
    objectives: dict[str, dict[str, Any]]
    parts: dict[str, Part]
    rules: dict[str, Rule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks names and rates.

        Raises:
            InputError: A part names an objective that is not there or a rate that nothing before it chooses, a rate
                cannot be, or the SFT model called `sft` has too few seeds.
        """
        seeds = self.supervised["sft"].seeds if "sft" in self.supervised else 0
        if unfit := [rate for rate in self.rates if not 0 < rate < math.inf]:
            raise InputError(f"rates holds {unfit[0]}: a learning rate is above 0 and finite")
        chosen: set[tuple[str, int]] = set()
        for name, part in self.parts.items():
            if part.seeds > seeds:
                raise InputError(
                    f"part {name} wants {part.seeds} seeds of the SFT model `sft`: it has {seeds}"
                )
            if unknown := set(part.objectives) - set(self.objectives):
                raise InputError(f"part {name} names objective {min(unknown)!r}: define it under objectives")
            if part.rate is not None:
                continue
            cells = {
                (part.rate_of or objective, k) for objective in part.objectives for k in part.num_negatives
            }
            if part.rate_of is None:
                if not self.rates:
                    raise InputError(
                        f"part {name} has no rates to choose from: give rates, or a rate of its own"
                    )
                chosen |= cells
            elif missing := sorted(cells - chosen):
                objective, k = missing[0]
                raise InputError(
                    f"part {name} takes the rate of {objective!r} at K = {k}, which no part before it chooses"
                )


def read_grid(path: Path) -> Grid:
    """Reads a grid.

    Raises:
        InputError: The file is missing, or is no grid; or it or a config that it names has a key twice.
    """
    require_distinct_keys(path)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Grid)
    try:
        written = yaml.safe_load(path.read_text())
        # Checks names and types, and makes numbers of what YAML takes for text, as 1e-3; it would build objectives too.
        parsed = parser.parse_object(deepcopy(written))
        supervised = {
            name: Supervised(**(model | {"seeds": parsed.supervised[name].seeds}))
            for name, model in written["supervised"].items()
        }
        parts = {name: Part(**part.as_dict()) for name, part in parsed.parts.items()}
        rules = {name: Rule(**rule) for name, rule in written.get("rules", {}).items()}
        read = {"supervised": supervised, "parts": parts, "rules": rules, "rates": parsed.rates}
        grid = Grid(**(written | read))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: give a grid such as study/grid.yaml") from error
    except (ArgumentError, yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no grid: {reason}: compare it with study/grid.yaml") from error
    models = (*grid.supervised.values(), *grid.rules.values())
    for config in {
        name: None for configs in (grid.preference, *(each.configs for each in models)) for name in configs
    }:
        require_distinct_keys(Path(config))
    return grid
