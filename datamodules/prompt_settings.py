"""How a model was prompted in training: kept beside exported weights, so that whoever loads them asks the same way."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from datamodules.errors import InputError
from datamodules.prompts import FILM_TEMPLATES, Template

_FILE = "prompts.json"


@dataclass(frozen=True)
class PromptSettings:
    """What shapes a prompt.

    Attributes:
        templates: Templates with `{history}` and `{candidates}`.
        chat: Whether they stand in the tokenizer's chat template.
        max_history: Most recent items that are kept.
        max_length: Most tokens of a prompt with its longest response; the oldest history items go first.
    """

    templates: tuple[str, ...] = FILM_TEMPLATES
    chat: bool = False
    max_history: int = 10
    max_length: int = 512

    def parsed(self, tokenizer: PreTrainedTokenizerBase) -> list[Template]:
        """The templates, ready to be filled in.

        Raises:
            InputError: A placeholder or the chat template is missing.
        """
        templates = [Template.parse(text) for text in self.templates]
        return [template.as_chat(tokenizer) for template in templates] if self.chat else templates

    def named(self) -> dict[str, Any]:
        """Return the settings in plain types, named as on the command line."""
        return {
            "data.templates": list(self.templates),
            "data.chat": self.chat,
            "data.max_history": self.max_history,
            "data.max_length": self.max_length,
        }

    def write(self, folder: Path) -> None:
        """Writes `prompts.json`."""
        (folder / _FILE).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "PromptSettings":
        """Reads `prompts.json`.

        Raises:
            InputError: It is missing or broken.
        """
        try:
            settings = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            return cls(tuple(settings.pop("templates")), **settings)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{folder / _FILE} does not say how the model was prompted ({error}): give a folder that "
                "callbacks.AdapterExport wrote"
            ) from error
