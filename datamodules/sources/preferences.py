"""Preference files: `{"prompt": "…", "chosen": "…", "rejected": ["…", …]}`, or TRL's or LLaMA-Factory's rows."""

from collections.abc import Iterator
from dataclasses import dataclass

from datamodules.sources.base import SourceSettings
from datamodules.sources.broken import BrokenRows
from datamodules.sources.preference_rows import Prompt, parse_preference
from datamodules.sources.splits import SplitFiles
from datamodules.sources.table_chunks import records


@dataclass(frozen=True)
class Preference:
    """A prompt, the response that was chosen and those that were rejected.

    Attributes:
        id: Number of the row over all files; every random draw of an example hangs on it.
        file_split: Split of the file it stands in.
        place: File and line.
        prompt: Text, or the messages of a conversation.
        responses: Texts, the chosen one first.
    """

    id: int
    file_split: int
    place: str
    prompt: Prompt
    responses: tuple[str, ...]


class PreferenceFiles:
    """Preference files, one per split; the number of rejected responses may differ between rows.

    JSON lines, a JSON array or Parquet, plain, gzip or alone in a zip; what a row may be: `parse_preference`.

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
        self.skip_broken_rows = skip_broken_rows

    def settings(self) -> SourceSettings:
        """Everything that decides what `read` returns."""
        return self.files.settings(type(self).__name__, skip_broken_rows=self.skip_broken_rows)

    def read(self, report: dict[str, int | str]) -> Iterator[Preference]:
        """Streams all rows.

        Args:
            report: Is told how many rows of each file were skipped.

        Raises:
            InputError: A file is missing or a row is broken.
        """
        number = 0
        for split, path in self.files:
            broken = BrokenRows(path, self.skip_broken_rows)
            good = 0
            for place, row in records(broken):
                try:
                    prompt, responses = parse_preference(row)
                except ValueError as error:
                    broken.at(place, str(error))
                else:
                    good += 1
                    yield Preference(number, split, f"{path}, {place}", prompt, responses)
                number += 1
            broken.require_rows(good)
            if broken.count:
                report[f"broken rows of {path.name}, skipped"] = broken.count
