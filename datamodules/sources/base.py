"""What a source does: one that has interactions, and one that has examples, are both a `Source`."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from datamodules.corpus import Corpus, ExampleRules
from datamodules.errors import InputError
from datamodules.examples import build_examples
from datamodules.filters import InteractionFilter, apply_filters
from datamodules.interactions import Interactions
from datamodules.negatives import SeenItems


class Source(ABC):
    """Data that can be fetched, identified and loaded."""

    def prepare(self, cache_dir: Path) -> None:  # noqa: B027 - most sources are local and fetch nothing
        """Fetches what `load` needs; called on one process per machine.

        Args:
            cache_dir: Where downloads are kept.
        """

    @abstractmethod
    def fingerprint(self, cache_dir: Path) -> str:
        """Identifies the content that `load` would return."""

    @abstractmethod
    def load(self, cache_dir: Path, rules: ExampleRules) -> Corpus:
        """Reads everything.

        Raises:
            InputError: A file is missing or broken, or leaves a split without examples.
        """


class InteractionSource(Source):
    """A log of interactions; its examples are cut at global times.

    Args:
        filters: Applied to the log in their order.
    """

    def __init__(self, filters: Sequence[InteractionFilter] | None = None) -> None:
        self.filters = tuple(filters or ())

    def __str__(self) -> str:
        """Names the log in errors."""
        return type(self).__name__

    @abstractmethod
    def content(self, cache_dir: Path) -> str:
        """Identifies the log before it is filtered."""

    @abstractmethod
    def read(self, cache_dir: Path) -> Interactions:
        """Reads the log before it is filtered.

        Raises:
            InputError: A file is missing or broken.
        """

    def fingerprint(self, cache_dir: Path) -> str:
        """Identifies the log and the filters."""
        return ":".join([self.content(cache_dir), *map(repr, self.filters)])

    def load(self, cache_dir: Path, rules: ExampleRules) -> Corpus:
        """Filters the log and makes an example of every interaction with enough history."""
        log = self.read(cache_dir)
        try:
            log = apply_filters(log, self.filters)
            examples = build_examples(log, rules.min_history, rules.max_history, rules.seed)
        except InputError as error:
            raise InputError(f"{self}: {error}") from error
        # What a rule that counts may see: interactions earlier than every validation target.
        early = log.time < log.time[examples.id[examples.split > 0]].min()
        return Corpus(
            examples=examples,
            titles=log.titles,
            users=log.users,
            seen=SeenItems(log.user, log.item, len(log.titles)),
            train_log=(log.user[early], log.item[early]),
            lists=None,
            report={
                "users": len(log.users),
                "items": len(log.titles),
                "interactions": len(log),
                **log.dropped,
                "users with too short a history, skipped": examples.skipped_users,
                "notes": "; ".join(log.notes),
            },
        )


def sha256(*paths: Path) -> str:
    """Hashes the bytes of several files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
