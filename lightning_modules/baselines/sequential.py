"""What the neural baselines share: item histories in, a softmax over the catalogue to train, candidates to rank."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from datamodules.batches import Batch
from lightning_modules.checkpoints import require_same_weights
from lightning_modules.trained import TrainedRankingModule


class SequenceNetwork(nn.Module, ABC):
    """Encodes a history; the score of item i is state · weight_i + bias_i.

    Args:
        num_items: Size of the catalogue.
        width: Length of the state.
    """

    def __init__(self, num_items: int, width: int) -> None:
        super().__init__()
        self.output = nn.Embedding(num_items, width)
        self.bias = nn.Parameter(torch.zeros(num_items))
        # A state of unit entries then gives logits of unit variance.
        nn.init.normal_(self.output.weight, std=width**-0.5)

    @abstractmethod
    def forward(self, history: Tensor, user: Tensor) -> Tensor:
        """Encodes histories.

        Args:
            history: Items, oldest first, right-aligned, -1 where there is none, shape [B, H]; H differs between
                batches and must change nothing.
            user: Users, shape [B].

        Returns:
            States, shape [B, width].
        """

    def catalogue_scores(self, state: Tensor) -> Tensor:
        """Scores every item, shape [B, num_items]."""
        return functional.linear(state, self.output.weight, self.bias)

    def item_scores(self, state: Tensor, items: Tensor) -> Tensor:
        """Scores some items per row, shape [B, C] like `items`."""
        return torch.einsum("bd,bcd->bc", state, self.output(items)) + self.bias[items]


class SequentialRecommender(TrainedRankingModule):
    """A sequence network trained by cross entropy over the whole catalogue, −log softmax(scores)[positive].

    The papers train with sampled losses, which their time's catalogues and hardware asked for. With the whole softmax
    these models rank better (arXiv 2309.07602), so the baselines are at least as strong as published; and nothing is
    drawn that a resumed run would have to draw again.
    """

    numbered: ClassVar[tuple[str, ...]] = ("items",)
    network: SequenceNetwork

    @abstractmethod
    def build_network(self, num_items: int, num_users: int) -> SequenceNetwork:
        """Makes the network for a data set."""

    def configure_model(self) -> None:
        """Draws weights from the global seed alone, whatever random numbers were used since it was set."""
        if hasattr(self, "network"):
            return
        store = self.trainer.datamodule.store
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.initial_seed())
            self.network = self.build_network(len(store.titles), len(store.users))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Computes the loss of the positives, which stand in column 0."""
        scores = self.network.catalogue_scores(self.network(batch.history, batch.user))
        return {"loss": functional.cross_entropy(scores, batch.items[:, 0])}

    def candidate_scores(self, batch: Batch) -> Tensor:
        """Ranks by the logits, shape [B, C]."""
        return self.network.item_scores(self.network(batch.history, batch.user), batch.items)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks a checkpoint before Lightning loads it.

        Raises:
            InputError: It is of another model.
        """
        super().on_load_checkpoint(checkpoint)
        require_same_weights(self, checkpoint["state_dict"], "the checkpoint")


def left_aligned(history: Tensor) -> tuple[Tensor, Tensor]:
    """Moves a history's padding to its end, where a causal network never sees it.

    Args:
        history: Right-aligned, -1 where there is none, shape [B, H].

    Returns:
        The same items left-aligned, 0 where there is none, shape [B, H]; how many there are, shape [B].
    """
    length = (history >= 0).sum(dim=1)
    column = torch.arange(history.shape[1], device=history.device)
    index = (column + (history.shape[1] - length)[:, None]).clamp(max=history.shape[1] - 1)
    return torch.where(column < length[:, None], history.gather(1, index), 0), length


def last_state(states: Tensor, length: Tensor) -> Tensor:
    """Reads the state after the last item: [B, H, D] and [B] to [B, D]."""
    return states[torch.arange(len(states), device=states.device), length - 1]
