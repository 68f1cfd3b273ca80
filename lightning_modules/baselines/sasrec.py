"""SASRec: Kang and McAuley, Self-attentive sequential recommendation, arXiv 1808.09781."""

import torch
from torch import Tensor, nn

from datamodules.checks import require_at_least, require_share
from datamodules.errors import InputError
from lightning_modules.baselines.sequential import (
    SequenceNetwork,
    SequentialRecommender,
    last_state,
    left_aligned,
)
from lightning_modules.trained import OptimizerFactory, SchedulerFactory


class SASRecNetwork(SequenceNetwork):
    """Causal self-attention over item vectors, which are the output weights too (section III).

    A position is counted from the last item back, as in the paper, whose sequences end at position n.

    Args:
        num_items: Size of the catalogue.
        hidden_size: d, length of an item's vector.
        num_blocks: b, blocks of attention and feed-forward layer.
        num_heads: Attention heads.
        dropout: Of item vectors, attention and feed-forward layers.
        max_history: n, longest history.
    """

    def __init__(
        self,
        num_items: int,
        hidden_size: int,
        num_blocks: int,
        num_heads: int,
        dropout: float,
        max_history: int,
    ) -> None:
        super().__init__(num_items, hidden_size)
        self.position = nn.Embedding(max_history, hidden_size)
        nn.init.normal_(self.position.weight, std=hidden_size**-0.5)
        self.dropout = nn.Dropout(dropout)
        # Not `nn.TransformerEncoder`: its blocks would all start with the same weights.
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden_size,
                num_heads,
                hidden_size,
                dropout,
                activation="relu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, history: Tensor, user: Tensor) -> Tensor:
        """Reads the state of the last item, shape [B, hidden_size]; the user plays no part.

        Raises:
            InputError: A history is longer than `max_history`.
        """
        columns = history.shape[1]
        if columns > self.position.num_embeddings:
            raise InputError(
                f"a history has {columns} items and the model's max_history is {self.position.num_embeddings}: "
                "raise the model's or lower the data's"
            )
        items, length = left_aligned(history)
        back = length[:, None] - 1 - torch.arange(columns, device=history.device)
        scale = self.output.embedding_dim**0.5
        states = self.dropout(self.output(items) * scale + self.position(back.clamp(min=0)))
        future = torch.ones(columns, columns, dtype=torch.bool, device=history.device).triu(1)
        for block in self.blocks:
            states = block(states, src_mask=future, is_causal=True)
        state: Tensor = self.norm(last_state(states, length))
        return state


class SASRec(SequentialRecommender):
    """SASRec, trained by cross entropy over the whole catalogue.

    Args:
        optimizer: Takes the trained parameters.
        lr_scheduler: Any schedule; its length is filled in, see `TrainedRankingModule`.
        hidden_size: d (50 in the paper).
        num_blocks: b (2 in the paper).
        num_heads: Attention heads (1 in the paper).
        dropout: 0.2 on MovieLens and 0.5 on sparser data in the paper.
        max_history: n; at least the data's.
    """

    def __init__(
        self,
        optimizer: OptimizerFactory,
        lr_scheduler: SchedulerFactory | None = None,
        hidden_size: int = 50,
        num_blocks: int = 2,
        num_heads: int = 1,
        dropout: float = 0.2,
        max_history: int = 10,
    ) -> None:
        super().__init__(optimizer, lr_scheduler)
        require_at_least(
            1, hidden_size=hidden_size, num_blocks=num_blocks, num_heads=num_heads, max_history=max_history
        )
        require_share(dropout=dropout)
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size={hidden_size} must be a multiple of num_heads={num_heads}")
        self._settings = (hidden_size, num_blocks, num_heads, dropout, max_history)

    def build_network(self, num_items: int, num_users: int) -> SASRecNetwork:
        """Makes the blocks."""
        return SASRecNetwork(num_items, *self._settings)
