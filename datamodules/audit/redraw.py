"""The same rows with lists in a fresh order, or freshly drawn: what a leak is worth, and what mends it."""

from dataclasses import replace

import numpy as np

from datamodules.audit.rows import NONE, AuditData, AuditSplit
from datamodules.draws import Stream, uniforms
from datamodules.errors import InputError
from datamodules.negatives import SeenItems, UniformProposals, draw_candidates


def reshuffled(data: AuditData, seed: int) -> AuditData:
    """Shuffles every list by (seed, row); the rows keep their negatives.

    Args:
        data: The data as they are.
        seed: Decides the order.
    """
    splits = []
    for split, ids in zip(data.splits, _row_ids(data), strict=True):
        keys = uniforms(seed, Stream.CANDIDATE_ORDER, ids, split.candidates.shape[1])
        order = np.argsort(np.where(split.candidates == NONE, 1.0, keys), axis=1)
        splits.append(replace(split, candidates=np.take_along_axis(split.candidates, order, axis=1)))
    return replace(data, splits=tuple(splits))


def redrawn(data: AuditData, seed: int) -> AuditData:
    """Draws every list anew by (seed, row), uniformly from the items that occur as candidates.

    What a row's history holds is no negative; where users are known, nor is anything else they consumed.

    Args:
        data: The data as they are.
        seed: Decides negatives and order.

    Raises:
        InputError: The lists have different lengths, or the catalogue is too small.
    """
    catalogue = np.unique(np.concatenate([_items(split) for split in data.splits]))
    lengths = np.unique(np.concatenate([(split.candidates != NONE).sum(axis=1) for split in data.splits]))
    if len(lengths) > 1:
        raise InputError(
            f"lists have {lengths[0]} to {lengths[-1]} candidates: only lists of one length can be re-drawn"
        )
    users = _users(data)
    seen, proposals = _seen(data, users, catalogue), UniformProposals(len(catalogue))
    splits = [
        replace(
            split,
            candidates=catalogue[
                draw_candidates(
                    seen, ids, user, _index(catalogue, split.target), proposals, int(lengths[0]), seed
                )
            ].astype(np.int32),
        )
        for split, ids, user in zip(data.splits, _row_ids(data), users, strict=True)
    ]
    return replace(data, splits=tuple(splits))


def _items(split: AuditSplit) -> np.ndarray:
    return np.concatenate([split.target, split.candidates[split.candidates != NONE]])


def _row_ids(data: AuditData) -> list[np.ndarray]:
    ends = np.cumsum([len(split) for split in data.splits])
    return [np.arange(end - len(split), end) for split, end in zip(data.splits, ends, strict=True)]


def _users(data: AuditData) -> list[np.ndarray]:
    """Users where all splits know them; otherwise every row is its own."""
    users = [split.user for split in data.splits if split.user is not None]
    return users if len(users) == len(data.splits) else [ids.astype(np.int32) for ids in _row_ids(data)]


def _seen(data: AuditData, users: list[np.ndarray], catalogue: np.ndarray) -> SeenItems:
    owners, items = [], []
    for split, user in zip(data.splits, users, strict=True):
        consumed = np.concatenate([split.history, split.target[:, None]], axis=1)
        rows, columns = np.nonzero(np.isin(consumed, catalogue))
        owners.append(user[rows])
        items.append(_index(catalogue, consumed[rows, columns]))
    return SeenItems(np.concatenate(owners), np.concatenate(items), len(catalogue))


def _index(catalogue: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.searchsorted(catalogue, items).astype(np.int32)
