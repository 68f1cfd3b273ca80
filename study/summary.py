"""Tables from the files of finished runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from datamodules.user_bootstrap import bootstrap_interval
from study.runs import (
    last_values,
    read_finished,
    read_metrics,
    read_ranks,
    require_own_checkpoint,
    require_same_model,
)

COLUMNS = ("test/hit_ratio@1", "test/ndcg@5", "test/mrr")


@dataclass(frozen=True)
class RunSummary:
    """What a finished run says.

    Attributes:
        metrics: The last value of every `test/` metric.
        intervals: 95 % interval of those in `COLUMNS`, over users (see `datamodules.user_bootstrap`); None with one
            user.
        train_loss: Mean over the last log line's steps; None for a rule.
        seconds: Training, start-up and validation included; None for a rule.
        examples: Test examples.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    train_loss: float | None
    seconds: float | None
    examples: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON: metrics at the top, their intervals beside them."""
        return {
            **self.metrics,
            "intervals": self.intervals,
            "train/loss": self.train_loss,
            "seconds": self.seconds,
            "examples": self.examples,
        }


def read_run(folder: Path) -> RunSummary:
    """Read a run's folder.

    Raises:
        InputError: The run has no test metrics or no predictions, or they are not of the same model.
    """
    last = last_values(read_metrics(folder / "metrics.csv"))
    metrics = {name: value for name, value in last.items() if name.startswith("test/")}
    if not metrics:
        raise InputError(
            f"{folder / 'metrics.csv'} holds no test metrics: run `train.py test` for this config first"
        )
    path = folder / "predictions.parquet"
    ranks = read_ranks(path)
    require_own_checkpoint(path)
    require_same_model(path, ranks, metrics)
    several = len(set(ranks.users.tolist())) > 1
    loss = last.get("train/loss")
    return RunSummary(
        metrics=metrics,
        intervals={
            column: bootstrap_interval(ranks.metrics[column.removeprefix("test/")], ranks.users, seed=0)
            if several
            else None
            for column in COLUMNS
        },
        train_loss=loss,
        seconds=read_finished(folder / "finished.json").get("seconds") if loss is not None else None,
        examples=len(ranks.ids),
    )


def table(runs: dict[str, RunSummary]) -> str:
    """Render runs as a Markdown table, every metric with its 95 % interval."""
    head = ["", "train loss", "hit_ratio@1", "ndcg@5", "mrr", "seconds"]
    body = []
    for name, run in runs.items():
        loss = "" if run.train_loss is None else _number(run.train_loss)
        seconds = "" if run.seconds is None else f"{run.seconds:.0f}"
        body.append([name, loss, *(_with_interval(run, column) for column in COLUMNS), seconds])
    widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]

    def line(cells: list[str]) -> str:
        aligned = [
            cells[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)),
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = "|-" + "-|-".join("-" * width for width in widths) + "-|"
    return "\n".join([line(head), rule, *map(line, body)])


def _with_interval(run: RunSummary, column: str) -> str:
    mean, interval = _number(run.metrics[column]), run.intervals[column]
    return mean if interval is None else f"{mean} [{_number(interval[0])}, {_number(interval[1])}]"


def _number(value: float) -> str:
    """Write a number as the report does: .521."""
    return f"{value:.3f}".removeprefix("0")
