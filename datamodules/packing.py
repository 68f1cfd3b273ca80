"""Packing: a row holds one prompt and all its responses, so the prompt is computed once.

    prompt ──┬── response 0      position ids of every response go on where the prompt ends;
             ├── response 1      a response sees the prompt and itself, never another response.
             └── response 2

The token that EOS is read off is a response's last token, so EOS itself is never an input. The first token of
every response is read off the prompt's last position: one row of logits serves all of them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PROMPT, PADDING = 0, -1


@dataclass  # not frozen: Lightning moves a batch to a device field by field
class HistoryTokens:
    """Tokens of the history inside the prompt, for supervised training.

    Attributes:
        source: Flat position (row · L + column) whose hidden state predicts the token, shape [H].
        target: The token, shape [H].
        row: Row of the batch, shape [H].
    """

    source: Tensor
    target: Tensor
    row: Tensor


@dataclass  # not frozen: Lightning moves a batch to a device field by field
class PackedBatch:
    """B prompts with R responses each, in rows of L tokens.

    Attributes:
        input_ids: Tokens, shape [B, L].
        position_ids: Positions; every response starts where its prompt ends, shape [B, L].
        segment_ids: 0 for the prompt, 1 + r for response r, -1 for padding, shape [B, L].
        source: Flat positions (row · L + column) that some response token is read off, shape [U].
        source_of: Index into `source` for every response token, EOS included, shape [B, R, T].
        target: Response tokens, EOS included, shape [B, R, T].
        token_mask: True where there is a token, shape [B, R, T].
        history: Tokens of the histories, for supervised training.
    """

    input_ids: Tensor
    position_ids: Tensor
    segment_ids: Tensor
    source: Tensor
    source_of: Tensor
    target: Tensor
    token_mask: Tensor
    history: HistoryTokens

    @property
    def lengths(self) -> Tensor:
        """Tokens of every response, EOS included, 0 where there is no response; shape [B, R]."""
        return self.token_mask.sum(dim=-1)


def pack(
    prompts: list[NDArray[np.int32]],
    responses: list[list[NDArray[np.int32]]],
    history_spans: NDArray[np.int32] | None = None,
) -> PackedBatch:
    """Packs prompts with their responses.

    Args:
        prompts: Prompt tokens, B arrays.
        responses: Per prompt its responses, each ending in EOS; ragged numbers are allowed.
        history_spans: First and one past the last history token of every prompt, shape [B, 2].
    """
    rows = [
        len(prompt) + sum(len(r) - 1 for r in own) for prompt, own in zip(prompts, responses, strict=True)
    ]
    batch, length = len(prompts), max(rows)
    most = max(len(own) for own in responses)
    longest = max((len(r) for own in responses for r in own), default=0)
    input_ids = np.zeros((batch, length), dtype=np.int64)
    position_ids = np.zeros((batch, length), dtype=np.int64)
    segment_ids = np.full((batch, length), PADDING, dtype=np.int64)
    source_of = np.zeros((batch, most, longest), dtype=np.int64)
    target = np.zeros((batch, most, longest), dtype=np.int64)
    token_mask = np.zeros((batch, most, longest), dtype=bool)
    source: list[NDArray[np.int64]] = []
    used = 0
    for row, (prompt, own) in enumerate(zip(prompts, responses, strict=True)):
        end = len(prompt)
        input_ids[row, :end] = prompt
        position_ids[row, :end] = np.arange(end)
        segment_ids[row, :end] = PROMPT
        first = used
        for index, response in enumerate(own):
            inner = len(response) - 1
            stop = end + inner
            input_ids[row, end:stop] = response[:-1]
            position_ids[row, end:stop] = np.arange(len(prompt), len(prompt) + inner)
            segment_ids[row, end:stop] = 1 + index
            target[row, index, : inner + 1] = response
            token_mask[row, index, : inner + 1] = True
            source_of[row, index, 0] = first
            inner_start = first + 1 + end - len(prompt)
            source_of[row, index, 1 : inner + 1] = np.arange(inner_start, inner_start + inner)
            end = stop
        source.append(row * length + np.arange(len(prompt) - 1, end))
        used += end - len(prompt) + 1
    return PackedBatch(
        input_ids=torch.from_numpy(input_ids),
        position_ids=torch.from_numpy(position_ids),
        segment_ids=torch.from_numpy(segment_ids),
        source=torch.from_numpy(np.concatenate(source)),
        source_of=torch.from_numpy(source_of),
        target=torch.from_numpy(target),
        token_mask=torch.from_numpy(token_mask),
        history=_history(input_ids, history_spans),
    )


def _history(input_ids: NDArray[np.int64], spans: NDArray[np.int32] | None) -> HistoryTokens:
    """Scores each token of a span off the position before it; the very first position predicts nothing before it."""
    batch, length = input_ids.shape
    if spans is None:
        spans = np.zeros((batch, 2), dtype=np.int32)
    columns = np.arange(length)
    row, column = np.nonzero((columns >= np.maximum(spans[:, :1], 1)) & (columns < spans[:, 1:]))
    return HistoryTokens(
        source=torch.from_numpy(row * length + column - 1),
        target=torch.from_numpy(input_ids[row, column]),
        row=torch.from_numpy(row),
    )


def may_attend(
    query_position: Tensor, key_position: Tensor, query_segment: Tensor, key_segment: Tensor
) -> Tensor:
    """Says whether a query sees a key: the past of the prompt and of its own segment.

    It is elementwise and broadcasts, so it serves the dense mask and FlexAttention's mask function alike.
    Padding sees padding, which keeps every softmax finite; nothing reads the result.
    """
    same_branch = (key_segment == PROMPT) & (query_segment != PADDING) | (key_segment == query_segment)
    return same_branch & (key_position <= query_position)


def dense_mask(position_ids: Tensor, segment_ids: Tensor, window: int | None = None) -> Tensor:
    """Builds the attention mask of packed rows.

    Args:
        position_ids: Shape [B, L].
        segment_ids: Shape [B, L].
        window: Tokens that a query sees at most, itself included, as sliding-window attention counts them. It is
            counted in positions, not in columns: in a packed row other responses lie between a response and its prompt.

    Returns:
        True where the row's query (dim 2) may attend to the key (dim 3), shape [B, 1, L, L].
    """
    mask = may_attend(
        position_ids[:, None, :, None],
        position_ids[:, None, None, :],
        segment_ids[:, None, :, None],
        segment_ids[:, None, None, :],
    )
    if window is None:
        return mask
    return mask & (position_ids[:, None, :, None] - position_ids[:, None, None, :] < window)
