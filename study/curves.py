"""What a finished run's metrics.csv says to the collapse alarm."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callbacks.collapse_rule import Change, Evidence
from datamodules.errors import InputError
from study.runs import read_config, read_metrics

_LOSS_CHANGE = "alarm/train_loss_change"  # logged by `CollapseAlarm` alone
_Row = dict[str, float]


@dataclass(frozen=True)
class Validation:
    """One validation of a run.

    Attributes:
        loss: Mean of the training loss since the validation before.
        mrr: val/mrr.
        hit_ratio: val/hit_ratio@1.
        easy_share: ‖g_S‖ / (‖g_S‖ + ‖g_B‖) as last measured, if it was.
    """

    loss: float
    mrr: float
    hit_ratio: float
    easy_share: float | None


@dataclass(frozen=True)
class Curve:
    """A run, as the rule sees it.

    Attributes:
        folder: The run's.
        seed: Its `seed_everything`.
        paired: Whether the errors are those of paired differences, which `CollapseAlarm` logs.
        evidence: One for each validation; None where it was the best so far.
    """

    folder: Path
    seed: int
    paired: bool
    evidence: list[Evidence | None]


def read_curve(folder: Path, examples: int | None = None) -> Curve:
    """Reads a run's folder.

    Without the lines of `CollapseAlarm` the errors are bounds for independent samples (`unpaired`), far larger than
    those of pairs, and the run is compared with its own validations alone.

    Args:
        folder: With metrics.csv and config.yaml.
        examples: Validation examples, for errors of a run whose config takes all there are.

    Raises:
        InputError: A file is missing, or the run has no validations, or their size is not known.
    """
    rows, config = read_metrics(folder / "metrics.csv"), read_config(folder / "config.yaml")
    validated = _validations(rows)
    if not validated:
        raise InputError(f"{folder / 'metrics.csv'} has no validation: leave the run out")
    lines = [row for row in rows if "val/mrr" in row]
    paired = any(_LOSS_CHANGE in row for row in lines)
    if paired:
        evidence = _as_logged(lines, validated)
    else:
        evidence = unpaired(validated, examples or _num_examples(folder, config))
    return Curve(folder, int(config["seed_everything"]), paired, evidence)


def unpaired(validated: Sequence[Validation], examples: int) -> list[Evidence | None]:
    """Compares every validation with the best before it by mrr, as if their examples were others.

    A mean m of N values in [0, 1] has a variance of at most m (1 − m) / N, reached by hits; the error of a difference
    of two is the root of the sum.
    """
    found: list[Evidence | None] = []
    best: Validation | None = None
    for now in validated:
        if best is None or now.mrr > best.mrr:
            best = now
            found.append(None)
            continue
        mrr = _difference(now.mrr, best.mrr, examples)
        hit_ratio = _difference(now.hit_ratio, best.hit_ratio, examples)
        found.append(Evidence(now.loss - best.loss, mrr, hit_ratio, now.easy_share))
    return found


def _difference(now: float, then: float, examples: int) -> Change:
    variance = (now * (1 - now) + then * (1 - then)) / examples
    return Change(now - then, variance**0.5)


def _as_logged(lines: Sequence[_Row], validated: Sequence[Validation]) -> list[Evidence | None]:
    found: list[Evidence | None] = []
    for row, validation in zip(lines, validated, strict=True):
        if _LOSS_CHANGE not in row or row["alarm/mrr_change"] > 0:
            found.append(None)
            continue
        mrr, hit_ratio = (
            Change(row[f"alarm/{name}_change"], row[f"alarm/{name}_error"]) for name in ("mrr", "hit_ratio@1")
        )
        found.append(Evidence(row[_LOSS_CHANGE], mrr, hit_ratio, validation.easy_share))
    return found


def _validations(rows: Sequence[_Row]) -> list[Validation]:
    found, losses = [], []
    easy_share: float | None = None
    for row in rows:
        if "train/loss" in row:
            losses.append(row["train/loss"])
        if "gradient/easy_norm" in row and "gradient/boundary_norm" in row:
            easy, boundary = row["gradient/easy_norm"], row["gradient/boundary_norm"]
            easy_share = easy / (easy + boundary) if easy + boundary else easy_share
        if "val/mrr" in row:
            loss = sum(losses) / len(losses) if losses else float("nan")
            found.append(Validation(loss, row["val/mrr"], row["val/hit_ratio@1"], easy_share))
            losses = []
    return found


def _num_examples(folder: Path, config: dict[str, Any]) -> int:
    count: int | None = config["data"]["init_args"].get("max_val_examples")
    if count is None:
        raise InputError(f"{folder} does not say how many examples it was validated on: give --examples")
    return count
