"""Rows that cannot be used: refused with file and line, or skipped and counted."""

from collections.abc import Callable
from pathlib import Path

from datamodules.errors import InputError


class BrokenRows:
    """What becomes of the broken rows of one file.

    Args:
        path: The file.
        skip: Skip and count them; otherwise the first one is an error.

    Attributes:
        count: Rows skipped so far.
        notes: What else is to be said of the file, a sentence each.
    """

    def __init__(self, path: Path, skip: bool) -> None:
        self.path = path
        self.count = 0
        self.notes: list[str] = []
        self._skip = skip
        self._first: Callable[[], str] = str

    def found(self, place: Callable[[], str], reason: Callable[[], str], count: int = 1) -> None:
        """Takes note of broken rows.

        Args:
            place: Says where the first of them stands, `line 7`; asked only for the error message.
            reason: Says what is wrong with it.
            count: How many there are.

        Raises:
            InputError: Broken rows are not to be skipped.
        """
        if not self._skip:
            raise InputError(
                f"{self.path}, {place()}: {reason()}: mend the row or set skip_broken_rows: true"
            )
        if not self.count:
            self._first = lambda: f"{place()}: {reason()}"
        self.count += count

    def at(self, place: str, reason: str) -> None:
        """Takes note of one broken row; see `found`."""
        self.found(lambda: place, lambda: reason)

    def require_rows(self, good: int, otherwise: str | None = None) -> None:
        """Refuse a file without a row that can be used.

        Args:
            good: Rows that can be used.
            otherwise: What is wrong where there was no row at all, and the remedy; None leaves that to the caller.

        Raises:
            InputError: There is none; where rows were skipped, it says why the first one was.
        """
        if good:
            return
        if self.count:
            raise InputError(
                f"{self.path}: none of its {self.count} rows can be used, the first of them, {self._first()}"
            )
        if otherwise is not None:
            raise InputError(f"{self.path}: {otherwise}")
