"""Text to tokens, piece by piece: the same title has the same tokens wherever it stands.

A prompt is the concatenation of separately tokenised pieces (the template's segments, a line break, a title),
so no title changes another's tokens, the answer's tokens are the candidate's tokens, and truncation can drop
whole items. Supervised training, preference training, ranking and generation all read these tokens.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from datamodules.errors import InputError
from datamodules.pretrained import cannot_load, location
from datamodules.prompts import Template

_BOS, _EOS, _PAD = "<s>", "</s>", "<pad>"
_SEPARATOR = "\n"
_TEXTS_COUNTED_TOGETHER = 1 << 16

Tokens = TypeVar("Tokens")
Text = TypeVar("Text", bound=Hashable)


def learn_tokenizer(texts: Iterable[str], whole: bool = False) -> PreTrainedTokenizerFast:
    """Builds a tokenizer that loses nothing.

    Every word of `texts` is one token. What was never seen falls into bytes: the vocabulary of a byte-level BPE
    with `ignore_merges` and no merges does exactly this.

    Args:
        texts: Titles and template segments.
        whole: Makes every text one token, not every word.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not whole)
    words: Counter[str] = Counter()
    for text, count in _counted(texts):
        for word, _ in split.pre_tokenize_str(text):
            words[word] += count
    symbols = [_PAD, _BOS, _EOS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    known = set(symbols)
    symbols += [
        word
        for word, _ in sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))
        if word not in known
    ]
    vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    core.pre_tokenizer = split
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=_BOS, eos_token=_EOS, pad_token=_PAD)


def _counted(texts: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Counts texts some thousand at a time, so that those that repeat are split seldom and memory is bounded."""
    texts = iter(texts)
    while counts := Counter(islice(texts, _TEXTS_COUNTED_TOGETHER)):
        yield from counts.items()


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Loads a tokenizer by hub name, from a folder or from a GGUF file.

    Raises:
        InputError: It cannot be loaded, or it has no end-of-sequence token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(**location(name))
    except Exception as error:  # readers of many formats raise whatever they meet
        raise cannot_load("tokenizer", name, "tokenizer.json", error) from error
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"the tokenizer {name!r} has no EOS token, which ends a response: set one and save it"
        )
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes a tokenizer where `load_tokenizer` finds it."""
    tokenizer.save_pretrained(folder)


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Identifies what a tokenizer does: its vocabulary and special tokens."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    specials = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return hashlib.sha256(repr((vocabulary, specials)).encode()).hexdigest()[:16]


def special_token_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Compile a pattern that finds the text of special tokens."""
    texts = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return re.compile("|".join(map(re.escape, texts)) if texts else r"(?!)")


def _core_of(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Copies the library's own tokenizer, set to cut and pad nothing.

    Called by itself it takes half the time: what `transformers` adds to every text, nobody reads here.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(
            f"{type(tokenizer).__name__} is no fast tokenizer: convert it and save it with its tokenizer.json"
        )
    core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    core.no_truncation()
    core.no_padding()
    return core


def distinct(
    encode: Callable[[list[Text]], list[Tokens]], texts: Sequence[Text]
) -> tuple[list[Tokens], NDArray[np.int64]]:
    """Encode texts, each that repeats once: titles and prompts do, and encoding is what takes time.

    Args:
        encode: Encodes texts.
        texts: The texts.

    Returns:
        Tokens of the distinct texts, and for every text the index of its own, shape [len(texts)].
    """
    number: dict[Text, int] = {}
    index = [number.setdefault(text, len(number)) for text in texts]
    return encode(list(number)), np.array(index, dtype=np.int64)


class PieceEncoder:
    """Encodes pieces of a prompt with one tokenizer.

    Args:
        tokenizer: Needs an EOS token; a BOS token opens the prompt where there is one. The padding token is not
            used: padding is masked by position, so `pad = eos` hides nothing.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._core = _core_of(tokenizer)
        self.bos: list[int] = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self.eos: int = tokenizer.eos_token_id
        # SentencePiece puts a space before a text's first word, which is wrong behind other text.
        self._spaced = tokenizer.convert_ids_to_tokens(self.openings(["a"])[0]) != ["a"]
        self.separator = self.segments([_SEPARATOR])[0]

    def openings(self, texts: Sequence[str], special: bool = False) -> list[list[int]]:
        """Encodes texts that begin a prompt, BOS apart.

        Args:
            texts: The texts.
            special: Whether special tokens may stand in them; else they are text.
        """
        self._core.encode_special_tokens = not special
        encodings = self._core.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def segments(self, texts: Sequence[str], special: bool = False) -> list[list[int]]:
        """Encodes texts that stand behind other text; arguments as in `openings`."""
        if not self._spaced:
            return self.openings(texts, special)
        # Behind something that merges with nothing the text begins with, and without it.
        before = ["a" if text[:1].isspace() else "\n" for text in texts]
        lengths = {
            anchor: len(tokens) for anchor, tokens in zip("a\n", self.openings(["a", "\n"]), strict=True)
        }
        joined = self.openings([anchor + text for anchor, text in zip(before, texts, strict=True)], special)
        return [tokens[lengths[anchor] :] for anchor, tokens in zip(before, joined, strict=True)]

    def template(self, template: Template) -> list[list[int]]:
        """Encodes a template's three segments, the first with BOS."""
        first, *rest = template.segments
        opening = self.openings([first], template.chat)[0]
        return [opening if template.chat else [*self.bos, *opening], *self.segments(rest, template.chat)]

    def titles(self, titles: Sequence[str]) -> list[list[int]]:
        """Encodes titles with a leading space, as they stand on a line and after the prompt."""
        return self.segments([f" {title}" for title in titles])

    def responses(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Encodes answers: the title's tokens and EOS."""
        return [np.array([*tokens, self.eos], dtype=np.int32) for tokens in self.titles(texts)]
