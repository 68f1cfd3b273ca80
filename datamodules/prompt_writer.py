"""From examples to rows of tokens: pieces tokenised once, gathered for many prompts at a time."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datamodules.draws import Stream, random_bits
from datamodules.errors import InputError
from datamodules.examples import Examples
from datamodules.prompts import Template
from datamodules.ragged import Ragged, list_array
from datamodules.tokenization import PieceEncoder


class PromptWriter:
    """Turns examples into rows of tokens.

    A prompt is a sequence of pieces: BOS and a segment, a line per history item, a segment, a line per candidate, a
    segment. All pieces stand in one array, so that the prompts of many examples are one gather.

    Args:
        encoder: Encodes segments and titles.
        titles: Title of every item.
        templates: One is drawn per example.
        max_length: Most tokens of a prompt with its longest response.
        seed: With the example's id it decides the template.
        users: Ids of the users in the source, for the error.
    """

    def __init__(
        self,
        encoder: PieceEncoder,
        titles: list[str],
        templates: list[Template],
        max_length: int,
        seed: int,
        users: Sequence[str],
    ) -> None:
        pieces = [encoder.separator + tokens for tokens in encoder.titles(titles)]
        for template in templates:
            pieces += encoder.template(template)
        pieces.append([])
        self._tokens = Ragged.of(pieces)
        self._longest_line = int(self._tokens.lengths[: len(titles)].max())
        # Items come first; the last piece, index -1 as in a history's padding, is empty.
        self._segments = len(titles) + np.arange(3 * len(templates)).reshape(-1, 3)
        self._max_length = max_length
        self._seed = seed
        self._users = users

    def table(self, examples: Examples, candidates: NDArray[np.int32], rows: NDArray[np.int64]) -> pa.Table:
        """Builds the Arrow table of some examples.

        Args:
            examples: All examples.
            candidates: Candidate items of the examples to write, -1 where there is none, shape [n, C]; without any
                (C = 0) the answer may be every item.
            rows: The examples to write, shape [n].

        Raises:
            InputError: A prompt does not fit even with an empty history.
        """
        ids = examples.id[rows]
        choice = random_bits(self._seed, Stream.TEMPLATE, ids, 1)[:, 0] % np.uint64(len(self._segments))
        before_history, before_candidates, after = self._segments[choice.astype(np.int64)].T[:, :, None]
        history = self._fitting(
            examples.user[rows], examples.history[rows], candidates, self._segments[choice.astype(np.int64)]
        )
        pieces = np.concatenate([before_history, history, before_candidates, candidates, after], axis=1)
        begin = self._tokens.lengths[before_history[:, 0]]
        end = begin + self._tokens.lengths[history].sum(axis=1)
        kept = history >= 0
        return pa.table(
            {
                "id": ids,
                "user": examples.user[rows],
                "target": examples.target[rows],
                "time": _times(examples, rows),
                "template": choice.astype(np.int32),
                "history": list_array(history[kept], kept.sum(axis=1)),
                "candidates": list_array(candidates.ravel(), np.full(len(rows), candidates.shape[1])),
                "history_span": list_array(np.stack([begin, end], axis=1).ravel(), np.full(len(rows), 2)),
                "prompt": list_array(*self._tokens.joined(pieces)),
            }
        )

    def _fitting(
        self,
        users: NDArray[np.int32],
        history: NDArray[np.int32],
        candidates: NDArray[np.int32],
        segments: NDArray[np.int64],
    ) -> NDArray[np.int32]:
        """Takes the oldest history items out where a prompt is too long; -1 in their place."""
        lines = self._tokens.lengths[candidates]
        # The longest response has the tokens of its line: the EOS takes the line break's place.
        longest = lines.max(axis=1) if lines.shape[1] else self._longest_line
        fixed = self._tokens.lengths[segments].sum(axis=1) + lines.sum(axis=1) + longest
        room = self._max_length - fixed
        if (room < 0).any():
            worst = int(np.argmax(room < 0))
            user = self._users[users[worst]]
            raise InputError(
                f"user {user}: a prompt needs {fixed[worst]} tokens without any history and max_length is "
                f"{self._max_length}: raise max_length or lower num_candidates"
            )
        from_newest = np.cumsum(self._tokens.lengths[history][:, ::-1], axis=1)[:, ::-1]
        return np.where(from_newest <= room[:, None], history, np.int32(-1))


def _times(examples: Examples, rows: NDArray[np.int64]) -> pa.Array:
    return pa.nulls(len(rows), pa.float64()) if examples.time is None else pa.array(examples.time[rows])
