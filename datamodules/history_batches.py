"""From histories to prompts, which are the training prompts: the same pieces, tokens and truncation."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from datamodules.examples import SPLITS, Examples, Histories
from datamodules.history_files import UserHistories
from datamodules.packing import PackedBatch, pack
from datamodules.prompt_settings import PromptSettings
from datamodules.prompt_writer import PromptWriter
from datamodules.tokenization import PieceEncoder

_ROWS_PER_CHECK = 1 << 14


@dataclass  # not frozen: Lightning moves a batch to a device field by field
class HistoryBatch:
    """Prompts to answer with recommendations.

    Attributes:
        packed: The prompts, with their candidates as responses where they are given.
        row: Row of each user in the histories, shape [B].
        candidates: Items to rank, -1 where there is none, shape [B, C]; C = 0 searches the whole catalogue.
    """

    packed: PackedBatch
    row: Tensor
    candidates: Tensor

    def __len__(self) -> int:
        return len(self.row)


class HistoryCollate:
    """Writes the prompts of some users; a callable for `DataLoader(collate_fn=...)`.

    All users are asked with the first of the templates, so that an answer hangs on nobody's place in a file.

    Args:
        tokenizer: The model's.
        titles: Title of every item.
        histories: All users.
        prompts: How the model was prompted in training.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        titles: list[str],
        histories: UserHistories,
        prompts: PromptSettings,
    ) -> None:
        encoder = PieceEncoder(tokenizer)
        self.answers = encoder.responses(titles)
        self._histories = histories
        self._examples = _examples(histories, prompts.max_history)
        template = prompts.parsed(tokenizer)[0]
        self._writer = PromptWriter(encoder, titles, [template], prompts.max_length, 0, histories.users)

    def __call__(self, rows: list[int]) -> HistoryBatch:
        """Makes a batch of some rows.

        Raises:
            InputError: A prompt does not fit even with an empty history.
        """
        index = np.array(rows, dtype=np.int64)
        candidates = self._histories.candidates[index]
        table = self._writer.table(self._examples, candidates, index)
        prompts = [prompt.values.to_numpy() for prompt in table["prompt"]]
        answers = [[self.answers[item] for item in own if item >= 0] for own in candidates]
        return HistoryBatch(
            packed=pack(prompts, answers),
            row=torch.from_numpy(index),
            candidates=torch.from_numpy(candidates.astype(np.int64)),
        )

    def require_that_all_fit(self) -> None:
        """Finds the prompt that is too long before anything is computed.

        Raises:
            InputError: There is one.
        """
        for start in range(0, len(self._histories), _ROWS_PER_CHECK):
            rows = np.arange(start, min(start + _ROWS_PER_CHECK, len(self._histories)))
            self._writer.table(self._examples, self._histories.candidates[rows], rows)


def _examples(histories: UserHistories, max_history: int) -> Examples:
    """Dresses histories as examples without a target."""
    rows = len(histories)
    nothing: NDArray[np.int32] = np.zeros(rows, dtype=np.int32)
    return Examples(
        id=np.arange(rows),
        user=np.arange(rows, dtype=np.int32),
        target=nothing,
        time=None,
        history=Histories(histories.items, np.cumsum(histories.lengths), histories.lengths, max_history),
        split=np.full(rows, SPLITS.index("test"), dtype=np.int8),
        skipped_users=0,
    )
