"""From stored rows to the batch a step takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.draws import Stream, uniforms
from datamodules.packing import PackedBatch, pack

Row = Mapping[str, Any]


@dataclass  # not frozen: Lightning moves a batch to a device field by field
class Batch:
    """Prompts with the responses to score.

    For training, column 0 is the positive and the rest are this epoch's negatives. For ranking, the columns are
    the candidates in the order in which the prompt lists them.

    Attributes:
        packed: Tokens; R responses per row.
        id: Example ids, shape [B].
        user: Index of the user, shape [B].
        items: Item of every response, shape [B, R].
        positive: Column of the positive, shape [B].
        draws: Uniforms from (seed, epoch, example id) per negative, for random selection, shape [B, R - 1].
        history: Items of the history, right-aligned, -1 where there is none, shape [B, H].
    """

    packed: PackedBatch
    id: Tensor
    user: Tensor
    items: Tensor
    positive: Tensor
    draws: Tensor
    history: Tensor

    def __len__(self) -> int:
        return len(self.id)


class EpochRows(Dataset[tuple[int, Row]]):
    """Rows of a split, fetched a batch at a time, with the epoch they are fetched for."""

    def __init__(self, split: datasets.Dataset) -> None:
        self._split = split.with_format("numpy")

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, key: tuple[int, int]) -> tuple[int, Row]:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[tuple[int, Row]]:
        """Fetches many rows with one read of the Arrow table."""
        columns = self._split[[row for _, row in keys]]
        return [
            (epoch, {name: values[index] for name, values in columns.items()})
            for index, (epoch, _) in enumerate(keys)
        ]


class Collate:
    """Packs rows; a picklable callable for `DataLoader(collate_fn=...)`.

    Args:
        responses: Tokens of every item as an answer, EOS included.
        num_negatives: Negatives per example and epoch; None ranks all candidates.
        seed: With epoch and example id it decides which negatives are taken, and the draws.
    """

    def __init__(self, responses: list[NDArray[np.int32]], num_negatives: int | None, seed: int) -> None:
        self._responses = responses
        self._num_negatives = num_negatives
        self._seed = seed

    def __call__(self, rows: list[tuple[int, Row]]) -> Batch:
        """Makes a batch of the rows of one epoch."""
        epoch = rows[0][0]
        columns = {name: [row[name] for _, row in rows] for name in rows[0][1]}
        ids = np.array(columns["id"], dtype=np.int64)
        target = np.array(columns["target"], dtype=np.int64)
        candidates = np.stack(columns["candidates"]).astype(np.int64)
        if self._num_negatives is None:
            items = candidates
        else:
            items = self._with_negatives(candidates, target, ids, epoch)
        return Batch(
            packed=pack(
                columns["prompt"],
                [[self._responses[item] for item in row] for row in items],
                np.stack(columns["history_span"]),
            ),
            id=torch.from_numpy(ids),
            user=torch.from_numpy(np.array(columns["user"], dtype=np.int64)),
            items=torch.from_numpy(items),
            positive=torch.from_numpy(np.argmax(items == target[:, None], axis=1)),
            draws=torch.from_numpy(
                uniforms(self._seed, Stream.SELECTION, ids, items.shape[1] - 1, epoch)
            ).float(),
            history=_right_aligned(columns["history"]),
        )

    def _with_negatives(
        self, candidates: NDArray[np.int64], target: NDArray[np.int64], ids: NDArray[np.int64], epoch: int
    ) -> NDArray[np.int64]:
        """Puts the positive first and a fresh random subset of the negatives after it."""
        keys = uniforms(self._seed, Stream.NEGATIVE_SUBSET, ids, candidates.shape[1], epoch)
        keys[candidates == target[:, None]] = -1.0
        order = np.argsort(keys, axis=1)[:, : 1 + (self._num_negatives or 0)]
        return np.take_along_axis(candidates, order, axis=1)


def _right_aligned(rows: list[NDArray[np.int32]]) -> Tensor:
    result = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for index, row in enumerate(rows):
        result[index, result.shape[1] - len(row) :] = row
    return torch.from_numpy(result)


class EpochBatches(EpochRows):
    """Rows of a split for a sampler that decides on whole batches: a key is a list of keys."""

    def __getitem__(self, keys: list[tuple[int, int]]) -> list[tuple[int, Row]]:  # type: ignore[override]
        return self.__getitems__(keys)
