"""What a source does: one that has interactions, and one that has examples, are both a `Source`."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.corpus import Corpus, ExampleRules
from datamodules.data_record import Settings, content_digest
from datamodules.errors import InputError
from datamodules.examples import Examples, build_examples
from datamodules.filters import InteractionFilter, apply_filters
from datamodules.interactions import Interactions
from datamodules.negatives import SeenItems

REPEATED_TARGETS = "targets that stand in their history"


@dataclass(frozen=True)
class SourceSettings:
    """Everything that decides what a source brings, see `DataSettings`.

    Attributes:
        training: What shapes the rows of training, and may shape all others.
        test: What shapes the rows of test alone.
    """

    training: Settings
    test: Settings

    @classmethod
    def of(cls, training: Settings, test: Settings | None = None) -> "SourceSettings":
        """Name settings of a source as on the command line."""
        return cls(
            *(
                {f"data.source.{name}".rstrip("."): value for name, value in each.items()}
                for each in (training, test or {})
            )
        )


class Source(ABC):
    """Data that can be fetched, identified and loaded."""

    def prepare(self, cache_dir: Path) -> None:  # noqa: B027 - most sources are local and fetch nothing
        """Fetches what `load` needs; called on one process per machine.

        Args:
            cache_dir: Where downloads are kept.
        """

    @abstractmethod
    def settings(self, cache_dir: Path) -> SourceSettings:
        """Everything that decides what `load` would return, the content of files included."""

    def fingerprint(self, cache_dir: Path) -> str:
        """Identifies the content that `load` would return."""
        return content_digest([repr(self.settings(cache_dir))])

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

    def settings(self, cache_dir: Path) -> SourceSettings:
        """The log and the filters."""
        return SourceSettings.of(
            {
                "class_path": type(self).__name__,
                "": content_digest([self.content(cache_dir)]),
                "filters": [repr(each) for each in self.filters],
            }
        )

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
                **_repeated(examples),
                "users with too short a history, skipped": examples.skipped_users,
                "notes": "; ".join(log.notes),
            },
        )


def _repeated(examples: Examples) -> dict[str, int]:
    """Say how many targets a rule finds that knows no more than what was consumed before, where there are any."""
    anywhere, last = examples.repeated_targets()
    counts = {REPEATED_TARGETS: anywhere, "targets that are the item just before": last}
    return {name: count for name, count in counts.items() if count}


def sha256(*paths: Path) -> str:
    """Hashes the bytes of several files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
