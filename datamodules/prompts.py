"""Prompt templates: text around a history and a list of candidates."""

from dataclasses import dataclass

from datamodules.errors import InputError

HISTORY, CANDIDATES = "{history}", "{candidates}"

FILM_TEMPLATES = (
    "Films this person watched, oldest first:{history}\nChoose the next one from:{candidates}\nAnswer:",
    "This person has watched:{history}\nWhich of these will this person watch next?{candidates}\nAnswer:",
    "Viewing history:{history}\nOptions:{candidates}\nThe next film is:",
    "After watching these films:{history}\npredict the next choice from this list:{candidates}\nRecommendation:",
)


@dataclass(frozen=True)
class Template:
    """A prompt in three fixed segments; titles stand between them, each on a line of its own.

    A title is one line (`fold_title`), so a line break separates titles whatever they contain, and text in a
    title that looks like a placeholder or a special token stays text.
    """

    before_history: str
    before_candidates: str
    after_candidates: str

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Splits a template at its placeholders.

        Args:
            text: Text with `{history}` and then `{candidates}`, once each.

        Raises:
            InputError: A placeholder is absent, repeated or in the other order.
        """
        if (
            text.count(HISTORY) != 1
            or text.count(CANDIDATES) != 1
            or text.index(HISTORY) > text.index(CANDIDATES)
        ):
            raise InputError(f"template {text!r} must hold {HISTORY} once and, after it, {CANDIDATES} once")
        before, rest = text.split(HISTORY)
        return cls(before, *rest.split(CANDIDATES))

    @property
    def segments(self) -> tuple[str, str, str]:
        """The fixed text, in order."""
        return self.before_history, self.before_candidates, self.after_candidates

    def render(self, history: list[str], candidates: list[str]) -> str:
        """Writes the prompt as text, as a person would read it."""
        lines = ["".join(f"\n {title}" for title in titles) for titles in (history, candidates)]
        return self.before_history + lines[0] + self.before_candidates + lines[1] + self.after_candidates
