"""Text to tokens, piece by piece: the same title has the same tokens wherever it stands.

A prompt is the concatenation of separately tokenised pieces (the template's segments, a line break, a title),
so no title changes another's tokens, the answer's tokens are the candidate's tokens, and truncation can drop
whole items. Supervised training, preference training, ranking and generation all read these tokens.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from datamodules.errors import InputError

_BOS, _EOS, _PAD = "<s>", "</s>", "<pad>"
_SEPARATOR = "\n"


def learn_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Builds a word-level tokenizer that loses nothing.

    Every word of `texts` is one token. A word never seen falls into bytes: the vocabulary of a byte-level BPE
    with `ignore_merges` and no merges does exactly this.

    Args:
        texts: Titles and template segments.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text))
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


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """Loads a tokenizer by hub name or from a folder.

    Raises:
        InputError: It cannot be loaded, or it has no end-of-sequence token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"no tokenizer at {name_or_path!r} ({reason}): give a hub name or a local folder"
        ) from error
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"the tokenizer {name_or_path!r} has no EOS token, which ends a response: set one and save it"
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


class PieceEncoder:
    """Encodes pieces of a prompt with one tokenizer.

    Args:
        tokenizer: Needs an EOS token; a BOS token opens the prompt where there is one. The padding token is not
            used: padding is masked by position, so `pad = eos` hides nothing.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.bos: list[int] = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self.eos: int = tokenizer.eos_token_id
        self.separator = self._encode([_SEPARATOR])[0]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,  # making what nobody reads took most of the time
            return_token_type_ids=False,
        )
        return encoded["input_ids"]

    def segments(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes template segments as they are."""
        return self._encode(texts)

    def titles(self, titles: Sequence[str]) -> list[list[int]]:
        """Encodes titles with a leading space, as they stand on a line and after the prompt."""
        return self._encode([f" {title}" for title in titles])

    def responses(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Encodes answers: the title's tokens and EOS."""
        return [np.array([*tokens, self.eos], dtype=np.int32) for tokens in self.titles(texts)]
