"""Preference JSONL: `{"prompt": "…", "chosen": "…", "rejected": ["…", …]}` on every line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datamodules.sources.base import SourceSettings
from datamodules.sources.broken import BrokenRows
from datamodules.sources.json_rows import json_lines
from datamodules.sources.splits import SplitFiles


@dataclass(frozen=True)
class Preference:
    """A prompt, the response that was chosen and those that were rejected.

    Attributes:
        id: Number of the row over all files; every random draw of an example hangs on it.
        file_split: Split of the file it stands in.
        place: File and line.
        prompt: Text.
        responses: Texts, the chosen one first.
    """

    id: int
    file_split: int
    place: str
    prompt: str
    responses: tuple[str, ...]


class PreferenceFiles:
    """Preference files, one per split; the number of rejected responses may differ between rows.

    Args:
        train: File to train on.
        val: File to validate on; None holds out a share of the rows of `train`, drawn from the seed.
        test: File to test on; None leaves nothing to test on.
        val_share: The share that is held out.
        skip_broken_rows: Skip and count rows that cannot be used instead of refusing the file.
    """

    def __init__(
        self,
        train: str,
        val: str | None = None,
        test: str | None = None,
        val_share: float = 0.1,
        skip_broken_rows: bool = False,
    ) -> None:
        self.files = SplitFiles(train, val, test, val_share)
        self._skip = skip_broken_rows

    def settings(self) -> SourceSettings:
        """Everything that decides what `read` returns."""
        return self.files.settings(type(self).__name__, skip_broken_rows=self._skip)

    def read(self, report: dict[str, int | str]) -> Iterator[Preference]:
        """Streams all rows.

        Args:
            report: Is told how many rows of each file were skipped.

        Raises:
            InputError: A file is missing or a row is broken.
        """
        number = 0
        for split, path in self.files:
            broken = BrokenRows(path, self._skip)
            for line, row in json_lines(broken):
                try:
                    prompt, responses = _parse(row)
                except ValueError as error:
                    broken.at_line(line, str(error))
                else:
                    yield Preference(number, split, f"{path}, line {line}", prompt, responses)
                number += 1
            if broken.count:
                report[f"broken rows of {path.name}, skipped"] = broken.count


def _parse(row: Any) -> tuple[str, tuple[str, ...]]:
    """Checks a row; a `ValueError` says what is wrong with it."""
    if not isinstance(row, dict):
        raise ValueError(f"{str(row)[:40]!r} is not an object")
    for field, kind in (("prompt", str), ("chosen", str), ("rejected", list)):
        if not isinstance(row.get(field), kind):
            raise ValueError(
                f"{field} {str(row.get(field))[:40]!r} is not {'text' if kind is str else 'a list'}"
            )
        if not row[field]:
            raise ValueError(f"{field} is empty")
    responses = (row["chosen"], *row["rejected"])
    if set(map(type, responses)) != {str} or "" in responses:
        raise ValueError("rejected holds something else than text")
    if len(set(responses)) < len(responses):
        raise ValueError("a response stands there twice: chosen and rejected ones must differ")
    return row["prompt"], responses
