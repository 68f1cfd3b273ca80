"""What examples are made from, setting by setting. Checkpoints keep it, so that a difference is told by its name."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from datamodules.errors import InputError

Settings = Mapping[str, Any]

_DIGEST = "sha256:"


def content_digest(texts: Iterable[str]) -> str:
    """Identify texts in their order; a difference is reported without the digest."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return f"{_DIGEST}{digest.hexdigest()}"


@dataclass(frozen=True)
class DataSettings:
    """Everything that shapes stored examples: names as on the command line, values in plain types.

    The content of files stands as its digest.

    Attributes:
        tokenizer: What the tokenizer is, or is learned from.
        prompts: How prompts are written. With the tokenizer this is what a model has learned to read.
        training: What else shapes the rows of training.
        validation: What shapes the rows of validation alone.
        test: What shapes the rows of test and prediction alone.
    """

    tokenizer: Settings
    prompts: Settings
    training: Settings
    validation: Settings
    test: Settings

    @property
    def fingerprint(self) -> str:
        """One name for all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class DataRecord:
    """What a run's examples are: the settings, and what was made from them.

    Attributes:
        settings: The settings.
        contents: Number and digest of the `tokens`, and where there is a catalogue of the `items` and `users`, in the
            order in which a model numbers them.
    """

    settings: DataSettings
    contents: Mapping[str, tuple[int, str]]

    def plain(self) -> dict[str, Any]:
        """Return the record in plain types, for a checkpoint."""
        return {
            "settings": {group: dict(settings) for group, settings in asdict(self.settings).items()},
            "contents": {name: list(content) for name, content in self.contents.items()},
        }

    @classmethod
    def read(cls, record: Any, where: str) -> "DataRecord":
        """Read what `plain` wrote.

        Args:
            record: What the checkpoint holds.
            where: The checkpoint, for the error.

        Raises:
            InputError: It holds no record.
        """
        if not isinstance(record, dict):
            raise InputError(
                f"{where} does not say which data it was trained on: it is not from this version of train.py; train "
                "again"
            )
        contents = {name: (count, digest) for name, (count, digest) in record["contents"].items()}
        return cls(DataSettings(**record["settings"]), contents)

    def has_other(self, name: str, then: "DataRecord") -> bool:
        """Return whether a content differs from what it was; what one of the records lacks does not."""
        both = name in self.contents and name in then.contents
        return both and tuple(self.contents[name]) != tuple(then.contents[name])

    def require_tokens(self, then: "DataRecord", where: str) -> None:
        """Refuse another tokenizer than a model was trained with: its tokens mean other things.

        Raises:
            InputError: It names the settings from which the difference comes.
        """
        if not self.has_other("tokens", then):
            return
        causes = differences(then.settings.tokenizer, self.settings.tokenizer)
        if not causes and self.has_other("items", then):
            causes = [_catalogues(then, self)]
        remedy = "restore that"
        if then.settings.tokenizer.get("data.tokenizer", "") is None:  # learned, and kept with the examples
            its = f"examples-{then.settings.fingerprint}/tokenizer in data.cache_dir"
            remedy += f", or set data.tokenizer to {its} and data.title_tokens to false"
        raise InputError(
            f"{where} was trained with another tokenizer: {'; '.join(causes) or 'its files have changed'}: tokens "
            f"would mean something else to the model: {remedy}"
        )

    def require_prompts(self, then: "DataRecord", where: str) -> None:
        """Refuse prompts that are written in another way than a model has learned to read.

        Raises:
            InputError: It names the settings that differ.
        """
        if changed := differences(then.settings.prompts, self.settings.prompts):
            raise InputError(
                f"{where} was trained on other prompts: {'; '.join(changed)}: use the settings it was trained with"
            )

    def require_catalogue(self, then: "DataRecord", names: Iterable[str], where: str) -> None:
        """Refuse another catalogue than the one a model has vectors for.

        Args:
            then: What the model was trained on.
            names: Contents by whose numbers the model knows things: `items`, `users`.
            where: The checkpoint, for the error.

        Raises:
            InputError: A content differs.
        """
        for name in names:
            if self.has_other(name, then):
                raise InputError(
                    f"{where} has a vector for each of its {name}, and data.source brings others: "
                    f"{_counts(name, then, self)}: use the source it was trained on"
                )

    def require_training_rows(self, then: "DataRecord", where: str) -> None:
        """Refuse to go on with training on other rows.

        Raises:
            InputError: It names the settings that differ.
        """
        changed = self.other_rows(then, validation=True)
        if not changed and self.has_other("items", then):
            changed = [_catalogues(then, self)]
        if changed:
            raise InputError(
                f"{where} was trained on other data: {'; '.join(changed)}: restore the data, or start a new run "
                "without --ckpt_path"
            )

    def other_rows(self, then: "DataRecord", validation: bool = False) -> list[str]:
        """List the settings of rows that differ.

        Args:
            then: What a model was trained on.
            validation: Whether settings of validation alone count, too.
        """
        changed = differences(then.settings.training, self.settings.training)
        if validation:
            changed += differences(then.settings.validation, self.settings.validation)
        return changed


def differences(then: Settings, now: Settings) -> list[str]:
    """Describe the settings that two records share and that differ."""
    return [
        _difference(name, then[name], now[name]) for name in then if name in now and then[name] != now[name]
    ]


def _difference(name: str, then: Any, now: Any) -> str:
    if any(str(value).startswith(_DIGEST) for value in (then, now)):
        if None in (then, now):
            return f"{name} was {'null' if then is None else 'given'} and is {'null' if now is None else 'given'}"
        return f"the content of {name} has changed"
    return f"{name} was {then!r} and is {now!r}"


def _catalogues(then: DataRecord, now: DataRecord) -> str:
    return f"the catalogue of data.source is another ({_counts('items', then, now)})"


def _counts(name: str, then: DataRecord, now: DataRecord) -> str:
    before, after = (record.contents[name][0] for record in (then, now))
    return f"{before} {name} then and {after} now" + (", not the same" if before == after else "")
