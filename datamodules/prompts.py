"""Prompt templates: text around a history and a list of candidates."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from datamodules.errors import InputError

HISTORY, CANDIDATES = "{history}", "{candidates}"
_PLACEHOLDER = re.compile(r"\{[^{}\"'\n]*\}")

FILMS = "films"
FILM_TEMPLATES = (
    "Films this person watched, oldest first:{history}\nChoose the next one from:{candidates}\nAnswer:",
    "This person has watched:{history}\nWhich of these will this person watch next?{candidates}\nAnswer:",
    "Viewing history:{history}\nOptions:{candidates}\nThe next film is:",
    "After watching these films:{history}\npredict the next choice from this list:{candidates}\nRecommendation:",
)

_NEUTRAL_TEMPLATES = (
    "{Noun} this person chose, oldest first:{history}\nChoose the next one from:{candidates}\nAnswer:",
    "This person has chosen:{history}\nWhich of these {noun} will this person choose next?{candidates}\nAnswer:",
    "History of {noun}:{history}\nOptions:{candidates}\nThe next choice is:",
    "After choosing these {noun}:{history}\npredict the next choice from this list:{candidates}\nRecommendation:",
)


def templates_for(noun: str) -> tuple[str, ...]:
    """Return templates for items that are no films.

    Args:
        noun: What the items are, in the plural.

    Raises:
        ValueError: It is empty, or holds a brace or a line break.
    """
    if not noun.strip() or set(noun) & set("{}\n"):
        raise ValueError(
            f"noun={noun!r} must be what the items are, in the plural, as in films or gift cards"
        )
    capital = noun[0].upper() + noun[1:]
    return tuple(text.replace("{Noun}", capital).replace("{noun}", noun) for text in _NEUTRAL_TEMPLATES)


def chat_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[tuple[str, str]]) -> str:
    """Put messages into a tokenizer's chat template, up to where the assistant begins to answer.

    Args:
        tokenizer: Brings the template.
        messages: Roles, and what was said.

    Raises:
        InputError: The tokenizer has no chat template, or one that refuses such messages.
    """
    if tokenizer.chat_template is None:
        raise InputError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template: set data.chat to false"
        )
    turns = [{"role": role, "content": content} for role, content in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        roles = [role for role, _ in messages]
        what, remedy = "a user's turn", "set data.chat to false"
        if roles != ["user"]:
            what, remedy = f"turns of {', '.join(roles)}", "leave such rows out, or take another tokenizer"
        raise InputError(
            f"the chat template of {tokenizer.name_or_path!r} refuses {what} ({error}): {remedy}"
        ) from error


def user_turn(tokenizer: PreTrainedTokenizerBase, content: str) -> str:
    """Put text into a user's turn of a tokenizer's chat template; errors as in `chat_text`."""
    return chat_text(tokenizer, [("user", content)])


def _require_no_other_placeholder(text: str) -> None:
    """Refuse what looks like a placeholder and is none; JSON in a template, `{"title": ...}`, is text."""
    rest = text.replace(HISTORY, "").replace(CANDIDATES, "")
    for placeholder in _PLACEHOLDER.findall(rest):
        near = get_close_matches(placeholder.lower(), (HISTORY, CANDIDATES), n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"there are {HISTORY} and {CANDIDATES}"
        raise InputError(f"template {text!r} holds {placeholder}, which is no placeholder: {hint}")
    if rest.count("{") != rest.count("}"):
        raise InputError(
            f"template {text!r} holds an unbalanced brace: write {HISTORY} and {CANDIDATES}, and close every brace"
        )


@dataclass(frozen=True)
class Template:
    """A prompt in three fixed segments; titles stand between them, each on a line of its own.

    A title is one line (`fold_title`), so a line break separates titles whatever they contain, and text in a
    title that looks like a placeholder or a special token stays text.

    Attributes:
        before_history: First segment.
        before_candidates: Second segment.
        after_candidates: Third segment; the answer follows.
        chat: Special tokens in the segments are meant as such, and there is no other BOS than theirs.
    """

    before_history: str
    before_candidates: str
    after_candidates: str
    chat: bool = False

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Splits a template at its placeholders.

        Args:
            text: Text with `{history}` and then `{candidates}`, once each.

        Raises:
            InputError: A placeholder is absent, repeated, misspelt or in the other order, or a brace is left over.
        """
        _require_no_other_placeholder(text)
        return cls._split(text)

    @classmethod
    def _split(cls, text: str) -> "Template":
        if (
            text.count(HISTORY) != 1
            or text.count(CANDIDATES) != 1
            or text.index(HISTORY) > text.index(CANDIDATES)
        ):
            raise InputError(f"template {text!r} must hold {HISTORY} once and, after it, {CANDIDATES} once")
        before, rest = text.split(HISTORY)
        between, after = rest.split(CANDIDATES)
        return cls(before, between, after)

    def as_chat(self, tokenizer: PreTrainedTokenizerBase) -> "Template":
        """Puts the prompt into a user's turn, up to where the assistant begins to answer.

        Args:
            tokenizer: Brings the chat template.

        Raises:
            InputError: It has none, or one that leaves a placeholder out.
        """
        text = self.before_history + HISTORY + self.before_candidates + CANDIDATES + self.after_candidates
        # A chat template may have braces of its own.
        return replace(Template._split(user_turn(tokenizer, text)), chat=True)

    @property
    def segments(self) -> tuple[str, str, str]:
        """The fixed text, in order."""
        return self.before_history, self.before_candidates, self.after_candidates

    def render(self, history: list[str], candidates: list[str]) -> str:
        """Writes the prompt as text, as a person would read it."""
        lines = ["".join(f"\n {title}" for title in titles) for titles in (history, candidates)]
        return self.before_history + lines[0] + self.before_candidates + lines[1] + self.after_candidates
