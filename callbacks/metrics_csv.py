"""metrics.csv that survives a resume: no line twice, none missing."""

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor


class MetricsCSV(Logger):
    """Writes one line per step; columns are added as metrics appear.

    Lightning's own `CSVLogger` deletes the file when it opens a folder that has one.

    Args:
        folder: Where `metrics.csv` goes.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self._path = Path(folder) / "metrics.csv"
        self._pending: dict[str, Any] = {}
        self._columns: list[str] | None = None

    @property
    def name(self) -> str:
        """Empty: the file stands in the run's folder itself."""
        return ""

    @property
    def version(self) -> str:
        """Empty: the file stands in the run's folder itself."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return self._folder

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return self._folder

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing: `config.yaml` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Adds metrics to the step's line; a new step writes the line before it."""
        if self._pending and self._pending["step"] != step:
            self.save()
        self._pending["step"] = step
        for name, value in metrics.items():
            self._pending[name] = value.item() if isinstance(value, Tensor) else value

    @rank_zero_only
    def save(self) -> None:
        """Writes the line in hand."""
        if not self._pending:
            return
        line, self._pending = self._pending, {}
        if self._columns is None or not line.keys() <= set(self._columns):
            columns, lines = self._read()
            added = [name for name in line if name not in columns]
            self._write([*columns, *added], [*lines, line])
        else:
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(line)

    def finalize(self, status: str) -> None:
        """Writes the line in hand."""
        self.save()

    @rank_zero_only
    def restart(self) -> None:
        """Begins a new file."""
        self._pending, self._columns = {}, None
        self._path.unlink(missing_ok=True)

    def num_lines(self) -> int:
        """Lines under the header, once the line in hand is written."""
        self.save()
        return len(self._read()[1])

    @rank_zero_only
    def keep(self, num_lines: int) -> None:
        """Drops what was written after the checkpoint that training resumes from."""
        self._pending = {}
        columns, lines = self._read()
        if len(lines) > num_lines:
            self._write(columns, lines[:num_lines])

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        if not self._path.is_file():
            return ["step"], []
        with self._path.open(newline="") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or ["step"]), list(reader)

    def _write(self, columns: list[str], lines: list[dict[str, Any]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(lines)
        temporary.rename(self._path)
        self._columns = columns
