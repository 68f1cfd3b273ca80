"""All titles of a catalogue as a trie of tokens: what may follow what has been written so far."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.errors import InputError

ROOT = 0


@dataclass(frozen=True)
class TitleTrie:
    """Nodes are beginnings of answers; node 0 is the empty one, and the children of a node are numbered in a row.

    Attributes:
        token: Token that leads to a node, shape [nodes].
        first_child: A node's first child, shape [nodes].
        num_children: How many it has, shape [nodes].
        item: The item whose answer ends at a node, -1 where none does, shape [nodes].
        depth: Tokens of the longest answer.
    """

    token: Tensor
    first_child: Tensor
    num_children: Tensor
    item: Tensor
    depth: int

    @classmethod
    def of(cls, answers: Sequence[NDArray[np.int32]], titles: Sequence[str]) -> "TitleTrie":
        """Builds the trie; every prefix of the sorted answers that begins anew is a node.

        Args:
            answers: Tokens of every item's title, EOS included.
            titles: The titles, for the error.

        Raises:
            InputError: Two answers have the same tokens.
        """
        depth = max(map(len, answers))
        rows: NDArray[np.int32] = np.full((len(answers), depth), -1, dtype=np.int32)
        for row, answer in zip(rows, answers, strict=True):
            row[: len(answer)] = answer
        order = np.lexsort(rows.T[::-1])
        rows = rows[order]
        differs = np.logical_or.accumulate(rows[1:] != rows[:-1], axis=1)
        if not differs[:, -1].all():
            same = int(np.argmin(differs[:, -1]))
            raise InputError(
                f"{titles[order[same]]!r} and {titles[order[same + 1]]!r} have the same tokens: leave one out of the "
                "catalogue or take a tokenizer that tells them apart"
            )
        begins = (np.vstack([np.ones((1, depth), dtype=bool), differs]) & (rows >= 0)).T
        # Numbered level by level, so that siblings stand in a row; [depth, items], the root is 0.
        node_of = np.cumsum(begins).reshape(begins.shape)
        level, row = np.nonzero(begins)
        parent = np.where(level > 0, node_of[level - 1, row], ROOT)
        nodes = 1 + len(row)
        num_children = np.bincount(parent, minlength=nodes)
        last = (rows >= 0).sum(axis=1) - 1
        item = np.full(nodes, -1, dtype=np.int64)
        item[node_of[last, np.arange(len(rows))]] = order
        return cls(
            token=torch.from_numpy(np.concatenate([[0], rows.T[begins]]).astype(np.int64)),
            # Level by level, the children of all earlier nodes come before a node's own.
            first_child=torch.from_numpy(1 + np.cumsum(num_children) - num_children),
            num_children=torch.from_numpy(num_children),
            item=torch.from_numpy(item),
            depth=depth,
        )

    def to(self, device: torch.device) -> "TitleTrie":
        """The same on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return TitleTrie(**(values | moved))
