"""Rules that count: no training, no user model; whoever does not beat them has learned less than they know."""

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor

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


class CoOccurrence(RankingModule):
    """Scores an item by how often it followed the items of the history, over the history.

    The count of (h, c) is the number of training examples with h in the history and c as the target. Only pairs that
    occur are kept, as sorted keys h · items + c.
    """

    def setup(self, stage: str) -> None:
        """Counts pairs."""
        store = self.trainer.datamodule.store
        table = store.splits["train"].data.table
        history = table["history"].combine_chunks()
        target = np.repeat(table["target"].to_numpy(), pc.list_value_length(history).to_numpy())
        self._num_items = len(store.titles)
        keys = history.flatten().to_numpy().astype(np.int64) * self._num_items + target
        pairs, counts = np.unique(keys, return_counts=True)
        self.register_buffer("pairs", torch.from_numpy(pairs), persistent=False)
        self.register_buffer("counts", torch.from_numpy(counts).float(), persistent=False)

    def candidate_scores(self, batch: Batch) -> Tensor:
        """Sums the counts over the history, shape [B, C]; padding (-1) makes a key below every pair's."""
        keys = batch.history[:, :, None] * self._num_items + batch.items[:, None, :]
        place = torch.searchsorted(self.pairs, keys).clamp(max=len(self.pairs) - 1)
        return torch.where(self.pairs[place] == keys, self.counts[place], 0.0).sum(dim=1)
