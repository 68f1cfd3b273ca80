"""metrics.csv that survives a resume: no line twice, none missing."""

import csv
import io
import os
from pathlib import Path
from typing import IO, Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn

from callbacks.line_logger import Line, LineLogger


class MetricsCSV(LineLogger):
    """Writes one line per step; columns are added as metrics appear.

    Lightning's own `CSVLogger` deletes the file when it opens a folder that has one. A line that cannot be written
    waits for the next one.

    Args:
        folder: Where `metrics.csv` goes.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self._path = Path(folder) / "metrics.csv"
        self._columns: list[str] | None = None
        self._waiting: list[Line] = []

    def write(self, line: Line) -> None:
        """Writes a line, and those before it that could not be."""
        self._waiting.append(line)
        try:
            self._write_waiting()
        except OSError as error:
            rank_zero_warn(f"{self._path} cannot be written ({error.strerror}); its lines wait until it can")
        else:
            self._waiting = []

    def _write_waiting(self) -> None:
        names = [name for line in self._waiting for name in line]
        if self._columns is None or not set(names) <= set(self._columns):
            columns, lines = self._read()
            added = [name for name in dict.fromkeys(names) if name not in columns]
            self._replace([*columns, *added], [*lines, *self._waiting])
            return
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._columns).writerows(self._waiting)
        _append(self._path, text.getvalue().encode())

    def num_lines(self) -> int:
        """Lines under the header, once the line in hand is written and the file is flushed to the disk."""
        self.save()
        if self._path.is_file():
            with self._path.open("rb") as file:
                os.fsync(file.fileno())
        return len(self.lines())

    @rank_zero_only
    def keep(self, num_lines: int) -> None:
        """Drops what was written after the checkpoint that training resumes from."""
        columns, lines = self._read()
        if len(lines) > num_lines:
            self._replace(columns, lines[:num_lines])
            if any(name.startswith("test/") and line[name] for line in lines[num_lines:] for name in columns):
                rank_zero_info(f"{self._path} loses the test metrics logged after the checkpoint: test again")
        elif len(lines) < num_lines:
            rank_zero_warn(
                f"{self._path} has {len(lines)} lines, the checkpoint was written after {num_lines}: the rest is lost"
            )

    def lines(self) -> list[dict[str, str]]:
        """What the file holds."""
        return self._read()[1]

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        if not self._path.is_file():
            return ["step"], []
        with self._path.open(newline="") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or ["step"]), list(reader)

    def _replace(self, columns: list[str], lines: list[Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w", newline="") as file:
            _write_table(file, columns, lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)
        self._columns = columns


def _append(path: Path, content: bytes) -> None:
    """Appends all of it or nothing; unbuffered, since a buffer would be written once more when the file is closed."""
    with path.open("ab", buffering=0) as file:
        whole = file.tell()
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(whole)
            raise


def _write_table(file: IO[str], columns: list[str], lines: list[Any]) -> None:
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(lines)
