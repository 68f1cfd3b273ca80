"""Tables from the files of finished runs."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from datamodules.errors import InputError

COLUMNS = ("test/hit_ratio@1", "test/ndcg@5", "test/mrr")


@dataclass(frozen=True)
class RunSummary:
    """What a finished run says.

    Attributes:
        metrics: The last value of every `test/` metric.
        train_loss: Mean over the last log line's steps; None for a rule.
        seconds: Training, start-up and validation included; None for a rule.
        examples: Test examples.
    """

    metrics: dict[str, float]
    train_loss: float | None
    seconds: float | None
    examples: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Flat, for JSON."""
        return {
            **self.metrics,
            "train/loss": self.train_loss,
            "seconds": self.seconds,
            "examples": self.examples,
        }


def read_run(folder: Path) -> RunSummary:
    """Reads a run's folder.

    Raises:
        InputError: The run has no test metrics.
    """
    path = folder / "metrics.csv"
    if not path.is_file():
        raise InputError(f"{path} is missing: run `train.py test` for this config first")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = {name: float(value) for row in rows for name, value in row.items() if value}
    metrics = {name: value for name, value in last.items() if name.startswith("test/")}
    if not metrics:
        raise InputError(f"{path} holds no test metrics: run `train.py test` for this config first")
    finished = json.loads((folder / "finished.json").read_text())
    loss = last.get("train/loss")
    return RunSummary(
        metrics=metrics,
        train_loss=loss,
        seconds=finished["seconds"] if loss is not None else None,
        examples=pq.read_metadata(folder / "predictions.parquet").num_rows,
    )


def table(runs: dict[str, RunSummary]) -> str:
    """Renders runs as a Markdown table; HR@1 with its binomial standard error."""
    head = ["", "train loss", "hit_ratio@1", "ndcg@5", "mrr", "seconds"]
    body = []
    for name, run in runs.items():
        hit, ndcg, mrr = (run.metrics[column] for column in COLUMNS)
        error = (hit * (1 - hit) / run.examples) ** 0.5
        loss = "" if run.train_loss is None else f"{run.train_loss:.3f}"
        seconds = "" if run.seconds is None else f"{run.seconds:.0f}"
        body.append([name, loss, f"{hit:.3f} ± {error:.3f}", f"{ndcg:.3f}", f"{mrr:.3f}", seconds])
    widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]

    def line(cells: list[str]) -> str:
        aligned = [
            cells[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)),
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = "|-" + "-|-".join("-" * width for width in widths) + "-|"
    return "\n".join([line(head), rule, *map(line, body)])
