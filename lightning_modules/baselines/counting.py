"""Rules that count: no training, no user model; whoever does not beat them has learned less than they know."""

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from datamodules.batches import Batch
from lightning_modules.ranking import RankingModule


class Popularity(RankingModule):
    """Scores an item by its interactions before the first time cut."""

    def setup(self, stage: str) -> None:
        """Counts."""
        store = self.trainer.datamodule.store
        counts = np.bincount(store.train_log[1], minlength=len(store.titles))
        self.register_buffer("counts", torch.from_numpy(counts).float(), persistent=False)

    def candidate_scores(self, batch: Batch) -> Tensor:
        """Looks the counts up, shape [B, C]."""
        return self.counts[batch.items]


class PairCounts(nn.Module):
    """How often one item was followed by another.

    Only pairs that occur are kept, as sorted keys first · num_items + second.

    Args:
        first: Items, shape [N].
        second: What followed them, shape [N].
        num_items: Size of the catalogue.
    """

    pairs: Tensor
    counts: Tensor

    def __init__(self, first: NDArray[np.int32], second: NDArray[np.int32], num_items: int) -> None:
        super().__init__()
        self._num_items = num_items
        pairs, counts = np.unique(first.astype(np.int64) * num_items + second, return_counts=True)
        self.register_buffer("pairs", torch.from_numpy(pairs), persistent=False)
        self.register_buffer("counts", torch.from_numpy(counts).float(), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Looks counts up; shapes broadcast. Padding (-1) in `first` makes a key below every pair's."""
        keys = first * self._num_items + second
        place = torch.searchsorted(self.pairs, keys).clamp(max=len(self.pairs) - 1)
        return torch.where(self.pairs[place] == keys, self.counts[place], 0.0)


class CoOccurrence(RankingModule):
    """Scores an item by how often it followed the items of the history, over the history.

    The count of (h, c) is the number of training examples with h in the history and c as the target.
    """

    def setup(self, stage: str) -> None:
        """Counts pairs of a history's item and a target."""
        store = self.trainer.datamodule.store
        table = store.splits["train"].data.table
        history = table["history"].combine_chunks()
        target = np.repeat(table["target"].to_numpy(), pc.list_value_length(history).to_numpy())
        self.followed = PairCounts(history.flatten().to_numpy(), target, len(store.titles))

    def candidate_scores(self, batch: Batch) -> Tensor:
        """Sums the counts over the history, shape [B, C]."""
        counts: Tensor = self.followed(batch.history[:, :, None], batch.items[:, None, :])
        return counts.sum(dim=1)


class LastItem(RankingModule):
    """Scores an item by how often it was the target of a training example whose history ends in the same item.

    Most transitions were never seen, so items of equal count are ordered by popularity, as a first-order Markov chain
    that backs off to no context.
    """

    popularity: Tensor

    def setup(self, stage: str) -> None:
        """Counts pairs of a history's last item and the target."""
        store = self.trainer.datamodule.store
        table = store.splits["train"].data.table
        history = table["history"].combine_chunks()
        last = history.flatten().to_numpy()[np.cumsum(pc.list_value_length(history).to_numpy()) - 1]
        self.followed = PairCounts(last, table["target"].to_numpy(), len(store.titles))
        popularity = np.bincount(store.train_log[1], minlength=len(store.titles)) / len(store.train_log[1])
        self.register_buffer("popularity", torch.from_numpy(popularity).float(), persistent=False)

    def candidate_scores(self, batch: Batch) -> Tensor:
        """Looks the counts up and adds the items' shares of all interactions, which are below 1; shape [B, C]."""
        counts: Tensor = self.followed(batch.history[:, -1:], batch.items)
        return counts + self.popularity[batch.items]
