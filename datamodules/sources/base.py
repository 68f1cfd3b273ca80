"""What a source of interactions does."""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path

from datamodules.interactions import Interactions


class Source(ABC):
    """Interactions that can be fetched, identified and read."""

    def prepare(self, cache_dir: Path) -> None:  # noqa: B027 - most sources are local and fetch nothing
        """Fetches what `read` needs; called on one process per machine.

        Args:
            cache_dir: Where downloads are kept.
        """

    @abstractmethod
    def fingerprint(self, cache_dir: Path) -> str:
        """Identifies the content that `read` would return."""

    @abstractmethod
    def read(self, cache_dir: Path) -> Interactions:
        """Reads everything.

        Raises:
            InputError: A file is missing or broken.
        """


def sha256(*paths: Path) -> str:
    """Hashes the bytes of several files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
