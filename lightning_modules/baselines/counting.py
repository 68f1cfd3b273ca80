"""Rules that count: no training, no user model; whoever does not beat them has learned less than they know."""

import torch
from torch import Tensor

from datamodules.batches import Batch
from lightning_modules.ranking import RankingModule


class Popularity(RankingModule):
    """Scores an item by its interactions before the first time cut."""

    def setup(self, stage: str) -> None:
        """Counts."""
        store = self.trainer.datamodule.store
        counts = torch.bincount(torch.from_numpy(store.train_log[1]).long(), minlength=len(store.titles))
        self.register_buffer("counts", counts.float(), persistent=False)

    def candidate_scores(self, batch: Batch) -> Tensor:
        """Looks the counts up, shape [B, C]."""
        return self.counts[batch.items]


class CoOccurrence(RankingModule):
    """Scores an item by the number of users, before the first time cut, who consumed it and an item of the history.

    The counts are summed over the history.
    """

    def setup(self, stage: str) -> None:
        """Builds the user-item incidence; the item-item counts are never materialised."""
        store = self.trainer.datamodule.store
        user, item = (torch.from_numpy(column).long() for column in store.train_log)
        seen = torch.zeros(len(store.users), len(store.titles) + 1)
        seen[user, item] = 1.0
        self.register_buffer("seen", seen, persistent=False)

    def candidate_scores(self, batch: Batch) -> Tensor:
        """Sums co-occurrence counts with every item of the history, shape [B, C].

        The last column of the incidence is empty and stands for padding (-1).
        """
        overlap = self.seen[:, batch.history].sum(dim=2)
        return torch.einsum("ub,ubc->bc", overlap, self.seen[:, batch.items])
