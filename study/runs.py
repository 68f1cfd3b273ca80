"""Finished runs as their folders tell them."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from datamodules.errors import InputError
from study.compare import metrics_of, read_predictions
from study.origin import foreign_checkpoint
from study.settings import Setting, setting_of

CURVES = ("train/", "val/", "boundary/", "gradient/", "beta/", "margin/", "reward/", "logps/", "alarm/")
_DIGITS = 5  # of a curve's values: more than a figure shows, and few enough to keep many runs in a small file
_ROUNDING = 1e-4  # metrics are logged in float32
_CONFIG, _METRICS, _PREDICTIONS, _FINISHED = (
    "config.yaml",
    "metrics.csv",
    "predictions.parquet",
    "finished.json",
)
# A run that was trained again has its earlier trainings in `earlier/`: they are not runs beside it.
_NOT_SEARCHED = ("wandb", "checkpoints", "earlier")


@dataclass(frozen=True)
class Curve:
    """One metric over training.

    Attributes:
        steps: Where it was logged, ascending, shape [N].
        values: To five significant digits, shape [N].
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Ranks:
    """Where a run ranked the target of every test example.

    Attributes:
        examples: Fingerprint of ids, users, targets and candidate lists: runs that share it can be paired.
        ids: Of the examples, ascending, shape [N].
        users: Whose examples they are, shape [N].
        rank: 1 is best, shape [N].
    """

    examples: str
    ids: NDArray[np.int64]
    users: NDArray[np.str_]
    rank: NDArray[np.int64]

    @cached_property
    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """hit_ratio@1, hit_ratio@5, ndcg@5 and mrr of every example, shape [N] each."""
        return metrics_of(self.rank)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        name: Its folder, below the folder that was searched.
        setting: What decided its result.
        seed: `seed_everything`.
        seconds: Of training, start-up and validation included; None where nobody noted them.
        commit: Of the code; empty where nobody noted it.
        command: That trained it; empty where nobody noted it.
        curves: Metric to values over training, those of `CURVES`.
        ranks: On the test examples; None where nothing was predicted.
    """

    name: str
    setting: Setting
    seed: int
    seconds: float | None
    commit: str
    command: str
    curves: Mapping[str, Curve]
    ranks: Ranks | None

    def last(self, metric: str) -> float | None:
        """A curve's last value."""
        return float(self.curves[metric].values[-1]) if metric in self.curves else None

    def best(self, metric: str) -> float | None:
        """A curve's highest value: for a validation metric, what the best checkpoint is kept for."""
        return float(self.curves[metric].values.max()) if metric in self.curves else None


def run_folders(root: Path) -> Iterator[Path]:
    """Finds the folders below, and the root itself, that hold a run's configuration or metrics."""
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if name not in _NOT_SEARCHED)
        if _CONFIG in files or _METRICS in files:
            yield Path(folder)
            below.clear()


def read_run(folder: Path, name: str) -> Run:
    """Reads a run's folder.

    Args:
        folder: With `config.yaml`, `metrics.csv`, and `predictions.parquet` and `finished.json` where there are some.
            `finished.json` may hold `seconds`, `commit` and `command`.
        name: How the run is to be called.

    Raises:
        InputError: A file is missing or broken, the run is not finished, or its files are not of one model.
    """
    config = read_config(folder / _CONFIG)
    lines = read_metrics(folder / _METRICS)
    finished = read_finished(folder / _FINISHED)
    _require_finished(folder, config, lines, bool(finished))
    predictions = folder / _PREDICTIONS
    ranks = read_ranks(predictions) if predictions.is_file() else None
    if ranks is not None:
        require_own_checkpoint(predictions)
        require_same_model(predictions, ranks, last_values(lines))
    setting = setting_of(config)
    return Run(
        name=name,
        setting=setting,
        seed=config["seed_everything"],
        seconds=finished.get("seconds") if setting.stage != "baseline" else None,
        commit=str(finished.get("commit", "")),
        command=str(finished.get("command", "")),
        curves=_curves(lines),
        ranks=ranks,
    )


def read_config(path: Path) -> dict[str, Any]:
    """Reads the configuration that a run has saved.

    Raises:
        InputError: It is missing or is none.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read ({reason}): run the configuration again") from error
    if not isinstance(config, dict) or not isinstance(config.get("seed_everything"), int):
        raise InputError(f"{path} names no seed_everything: run the configuration again")
    return config


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Reads a metrics.csv, a dictionary a line without what the line leaves empty.

    Raises:
        InputError: It is missing or holds something else than numbers.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [
                {name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)
            ]
        if not all("step" in line for line in lines):
            raise ValueError("a line has no step")
        return lines
    except OSError as error:
        raise InputError(f"{path} is missing: run `train.py test` for this config first") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is broken ({error}): run the configuration again") from error


def last_values(lines: list[dict[str, float]]) -> dict[str, float]:
    """The last value of every metric."""
    return {name: value for line in lines for name, value in line.items()}


def read_finished(path: Path) -> dict[str, Any]:
    """What was noted when the run ended; empty where nothing was.

    Raises:
        InputError: It is no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        finished = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is broken ({error}): delete it and run the configuration again") from error
    if not isinstance(finished, dict):
        raise InputError(f"{path} is no JSON object: delete it and run the configuration again")
    seconds = finished.get("seconds")
    if not isinstance(seconds, int | float | None):
        raise InputError(f"{path} has seconds {seconds!r}: delete it and run the configuration again")
    return finished


def _require_finished(
    folder: Path, config: Mapping[str, Any], lines: list[dict[str, float]], noted: bool
) -> None:
    """A run may stop before `max_steps` if someone noted that it finished."""
    if noted:
        return
    trainer = config.get("trainer") or {}
    wanted, every = trainer.get("max_steps") or -1, trainer.get("log_every_n_steps") or 1
    reached = max((int(line["step"]) + 1 for line in lines if "train/loss" in line), default=0)
    if wanted > 0 and 0 < reached <= wanted - every:
        raise InputError(
            f"{folder} stopped at step {reached:,} of {wanted:,}: resume it with --ckpt_path last"
        )
    if (wanted <= 0 or not reached) and not (folder / _PREDICTIONS).is_file():
        raise InputError(f"{folder} has no {_PREDICTIONS}: run `train.py predict` for its configuration")


def read_ranks(path: Path) -> Ranks:
    """Reads predictions.

    Raises:
        InputError: The file is missing or no prediction file.
    """
    table = read_predictions(path)
    return Ranks(
        examples=_fingerprint(table),
        ids=table["id"].to_numpy(),
        users=np.array(table["user"].to_pylist()),
        rank=table["rank"].to_numpy(),
    )


def _fingerprint(table: pa.Table) -> str:
    digest = hashlib.sha256()
    columns = [table[name].to_pylist() for name in ("id", "user", "target", "candidates")]
    for example, user, target, candidates in zip(*columns, strict=True):
        digest.update(json.dumps([example, user, target, sorted(candidates)]).encode())
    return digest.hexdigest()[:12]


def require_own_checkpoint(path: Path) -> None:
    """Check that predictions are of a checkpoint of the run beside them.

    Raises:
        InputError: They are of another one.
    """
    if wrong := foreign_checkpoint(path, anywhere=False):
        raise InputError(f"{wrong}: run `train.py predict --ckpt_path best` for this config again")


def require_same_model(path: Path, ranks: Ranks, last: Mapping[str, float]) -> None:
    """Checks predictions against the test metrics, where there are some.

    Args:
        path: Of the predictions, for the message.
        ranks: What they say.
        last: The last values of metrics.csv.

    Raises:
        InputError: They are of another model.
    """
    for name, each in ranks.metrics.items():
        tested = last.get(f"test/{name}")
        if tested is not None and abs(each.mean() - tested) > _ROUNDING:
            raise InputError(
                f"{path} gives test/{name} {each.mean():.4f} and metrics.csv {tested:.4f}: run `train.py test` "
                "and `train.py predict` with the same checkpoint"
            )


def _curves(lines: list[dict[str, float]]) -> dict[str, Curve]:
    names = sorted({name for line in lines for name in line if name.startswith(CURVES)})
    return {name: _curve([(line["step"], line[name]) for line in lines if name in line]) for name in names}


def _curve(points: list[tuple[float, float]]) -> Curve:
    """A step that was logged twice, as after a resume, counts with its last value."""
    steps, values = zip(*sorted(dict(points).items()), strict=True)
    return Curve(np.array(steps, dtype=np.int64), significant(np.array(values)))


def significant(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Rounds to the digits that curves are kept with; what is not finite stays."""
    return np.array([float(f"{value:.{_DIGITS}g}") for value in values.tolist()], dtype=np.float64)
