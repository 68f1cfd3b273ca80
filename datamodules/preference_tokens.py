"""Texts of preferences to tokens: plain ones, ones that hold special tokens, and prompts in a chat template."""

from collections.abc import Sequence
from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from datamodules.errors import InputError
from datamodules.prompts import user_turn
from datamodules.tokenization import PieceEncoder, special_token_pattern

_PLACEHOLDER = "{prompt}"

# A prompt's head, which truncation keeps, and the tokens after it.
Prompt = tuple[list[int], list[int]]


class PreferenceEncoder:
    """Encodes prompts and responses.

    Args:
        tokenizer: Encodes both.
        parse: Whether special tokens in a text are meant as such; else they are text.
        chat: Whether a prompt is put into the tokenizer's chat template, as a user's turn.

    Attributes:
        parse: As given.

    Raises:
        InputError: `chat` is set and the tokenizer has no chat template, or one that changes the prompt.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, parse: bool = False, chat: bool = False) -> None:
        self._pieces = PieceEncoder(tokenizer)
        self.parse = parse
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

    def misplaced(self, prompt: str, responses: Sequence[str]) -> str | None:
        """Find a special token that is spelt out as text, or is in a prompt before it gets its chat template."""
        texts = [prompt, *responses] if not self.parse else [prompt] if self._turn else []
        return self.special_in("\n".join(texts))

    def prompts(self, texts: Sequence[str]) -> list[Prompt]:
        """Encode prompts, each as a head that is BOS or the chat template's beginning, and the rest."""
        if self._turn is None:
            return [self._with_bos(tokens) for tokens in self._pieces.openings(texts, self.parse)]
        return self._turn.encode(texts, [not self.parse and bool(self.special_in(text)) for text in texts])

    def _with_bos(self, tokens: list[int]) -> Prompt:
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
        self._before, self._after = parts
        self._pieces = pieces
        self.tail = max(1, len(pieces.segments([self._after], special=True)[0]))
        # What the prompt's first word may merge with is not of the head.
        alone, followed = pieces.openings([self._before, f"{self._before}a"], special=True)
        self._head = [
            a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(alone, followed, strict=False))
        ]

    def encode(self, texts: Sequence[str], spelt_out: Sequence[bool]) -> list[Prompt]:
        """Encode prompts in their turns.

        Args:
            texts: The prompts.
            spelt_out: Which of them hold special tokens that are text; those are encoded apart from the template.
        """
        texts = [text.strip() if self._strips else text for text in texts]
        whole = [
            self._before + text + self._after
            for text, apart in zip(texts, spelt_out, strict=True)
            if not apart
        ]
        together = iter(self._pieces.openings(whole, special=True))
        tokens = [
            self._apart(text) if apart else next(together)
            for text, apart in zip(texts, spelt_out, strict=True)
        ]
        size = len(self._head)
        return [(self._head, own[size:]) if own[:size] == self._head else ([], own) for own in tokens]

    def _apart(self, text: str) -> list[int]:
        before = self._pieces.openings([self._before], special=True)[0]
        after = self._pieces.segments([self._after], special=True)[0]
        return [*before, *self._pieces.segments([text])[0], *after]


def _begins_chats_with_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer's chats begin with BOS; without a template, whether its texts do."""
    if tokenizer.chat_template is None or tokenizer.bos_token is None:
        return True
    return user_turn(tokenizer, _PLACEHOLDER).startswith(str(tokenizer.bos_token))
