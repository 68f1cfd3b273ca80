"""Texts of preferences to tokens: plain ones, ones that hold special tokens, and prompts in a chat template."""

from collections.abc import Sequence
from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from datamodules.errors import InputError
from datamodules.prompts import chat_text, user_turn
from datamodules.sources.preference_rows import Conversation, Prompt
from datamodules.tokenization import PieceEncoder, special_token_pattern

_PLACEHOLDER = "{prompt}"

# A prompt's head, which truncation keeps, and the tokens after it.
PromptTokens = tuple[list[int], list[int]]


class PreferenceEncoder:
    """Encodes prompts and responses.

    Args:
        tokenizer: Encodes both.
        parse: Whether special tokens in a text are meant as such; else they are text.
        chat: Whether a prompt is put into the tokenizer's chat template: a text as a user's turn, a conversation as it
            is.

    Attributes:
        parse: As given.
        chat: As given.

    Raises:
        InputError: `chat` is set and the tokenizer has no chat template, or one that changes the prompt.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, parse: bool = False, chat: bool = False) -> None:
        self._pieces = PieceEncoder(tokenizer)
        self.parse = parse
        self.chat = chat
        self._eos_token = str(tokenizer.eos_token)
        self._special = special_token_pattern(tokenizer)
        self._special_ids = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._turn = _UserTurn(tokenizer, self._pieces) if chat else None
        self._bos_in_chat = not parse or _begins_chats_with_bos(tokenizer)

    @property
    def eos(self) -> int:
        """The token that ends a response."""
        return self._pieces.eos

    @property
    def fewest(self) -> int:
        """How many tokens at its end a prompt cannot lose."""
        return 1 if self._turn is None else self._turn.tail

    def special_in(self, text: str) -> str | None:
        """Find the first special token whose text a text holds."""
        found = self._special.search(text)
        return None if found is None else found[0]

    def require_readable(self, prompt: Prompt, place: str) -> None:
        """Refuse a conversation where there is no chat template to put it into.

        Raises:
            InputError: It is one; the message says at which place.
        """
        if self._turn is None and not isinstance(prompt, str):
            raise InputError(
                f"{place}: the prompt is a conversation: set data.chat to true, and data.tokenizer to one with a chat "
                "template"
            )

    def misplaced(self, prompt: Prompt, responses: Sequence[str]) -> str | None:
        """Find a special token that is spelt out as text, or is in a prompt before it gets its chat template."""
        texts = [*contents(prompt), *responses] if not self.parse else contents(prompt) if self._turn else []
        return self.special_in("\n".join(texts))

    def prompts(self, prompts: Sequence[Prompt]) -> list[PromptTokens]:
        """Encode prompts, each as a head that is BOS or the chat template's beginning, and the rest."""
        if self._turn is None:
            texts = [prompt for prompt in prompts if isinstance(prompt, str)]
            return [self._with_bos(tokens) for tokens in self._pieces.openings(texts, self.parse)]
        spelt_out = [not self.parse and any(map(self.special_in, contents(prompt))) for prompt in prompts]
        return self._turn.encode(prompts, spelt_out)

    def _with_bos(self, tokens: list[int]) -> PromptTokens:
        """Put BOS first, unless it is there or a chat template of a kind that writes none has been applied."""
        bos = self._pieces.bos
        if self.parse and bos and tokens[:1] == bos:
            return bos, tokens[1:]
        if self.parse and self._special_ids.issuperset(tokens[:1]) and not self._bos_in_chat:
            return [], tokens
        return bos, tokens

    def ending(self, response: str) -> str:
        """Take off a response's own EOS, and the white space that chat templates put behind it."""
        if not self.parse or not response.rstrip().endswith(self._eos_token):
            return response
        return response.rstrip().removesuffix(self._eos_token)

    def responses(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode responses, EOS apart."""
        return self._pieces.segments(texts, self.parse)


class _UserTurn:
    """A chat template around a prompt, up to where the assistant begins to answer.

    Attributes:
        tail: How many tokens it puts behind the prompt, at least 1.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, pieces: PieceEncoder) -> None:
        self._strips = f"\t{_PLACEHOLDER}\t" not in user_turn(tokenizer, f"\t{_PLACEHOLDER}\t")
        parts = user_turn(tokenizer, _PLACEHOLDER).split(_PLACEHOLDER)
        if len(parts) != 2:
            raise InputError(
                f"the chat template of {tokenizer.name_or_path!r} holds a prompt {len(parts) - 1} times: set data.chat "
                "to false and give prompts that went through a template, with special_tokens: parse"
            )
        self._tokenizer = tokenizer
        self._before, self._after = parts
        self._pieces = pieces
        self.tail = max(1, len(pieces.segments([self._after], special=True)[0]))
        # What the prompt's first word may merge with is not of the head.
        alone, followed = pieces.openings([self._before, f"{self._before}a"], special=True)
        self._head = [
            a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(alone, followed, strict=False))
        ]

    def encode(self, prompts: Sequence[Prompt], spelt_out: Sequence[bool]) -> list[PromptTokens]:
        """Encode prompts in their turns.

        Args:
            prompts: The prompts.
            spelt_out: Which of them hold special tokens that are text; those are encoded apart from the template.
        """
        whole = [self._written(prompt) for prompt, apart in zip(prompts, spelt_out, strict=True) if not apart]
        together = iter(self._pieces.openings(whole, special=True))
        tokens = [
            self._apart(prompt) if apart else next(together)
            for prompt, apart in zip(prompts, spelt_out, strict=True)
        ]
        return [self._after_head(own) for own in tokens]

    def _after_head(self, tokens: list[int]) -> PromptTokens:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(self._head, tokens, strict=False))
        size = sum(1 for _ in same)
        return tokens[:size], tokens[size:]

    def _written(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return self._before + self._stripped(prompt) + self._after
        return chat_text(self._tokenizer, prompt)

    def _stripped(self, text: str) -> str:
        return text.strip() if self._strips else text

    def _apart(self, prompt: Prompt) -> list[int]:
        """Encode a prompt whose texts and the template around them are encoded piece by piece."""
        around = [self._before, self._after] if isinstance(prompt, str) else self._around(prompt)
        tokens = list(self._pieces.openings(around[:1], special=True)[0])
        for text, after in zip(contents(prompt), around[1:], strict=True):
            tokens += self._pieces.segments([self._stripped(text)])[0]
            tokens += self._pieces.segments([after], special=True)[0]
        return tokens

    def _around(self, conversation: Conversation) -> list[str]:
        """Return what the template puts before, between and behind messages."""
        marked = [(role, f"{{message{number}}}") for number, (role, _) in enumerate(conversation)]
        around, rest = [], chat_text(self._tokenizer, marked)
        for _, mark in marked:
            before, found, rest = rest.partition(mark)
            if not found:
                raise InputError(
                    f"the chat template of {self._tokenizer.name_or_path!r} leaves messages of "
                    f"{', '.join(role for role, _ in conversation)} out: give prompts that went through a template, "
                    "with special_tokens: parse"
                )
            around.append(before)
        return [*around, rest]


def contents(prompt: Prompt) -> list[str]:
    """Return the texts of a prompt."""
    return [prompt] if isinstance(prompt, str) else [content for _, content in prompt]


def _begins_chats_with_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer's chats begin with BOS; without a template, whether its texts do."""
    if tokenizer.chat_template is None or tokenizer.bos_token is None:
        return True
    return user_turn(tokenizer, _PLACEHOLDER).startswith(str(tokenizer.bos_token))
