"""GRU4Rec: Hidasi et al., Session-based recommendations with recurrent neural networks, arXiv 1511.06939."""

from torch import Tensor, nn

from datamodules.checks import require_at_least, require_share
from lightning_modules.baselines.sequential import (
    SequenceNetwork,
    SequentialRecommender,
    last_state,
    left_aligned,
)
from lightning_modules.trained import OptimizerFactory, SchedulerFactory


class GRU4RecNetwork(SequenceNetwork):
    """A GRU over item vectors, which are the output weights too ("constrained embeddings", arXiv 1706.03847).

    Args:
        num_items: Size of the catalogue.
        hidden_size: Units of the GRU and length of an item's vector.
        num_layers: Layers of the GRU.
        dropout: Of item vectors and of states.
    """

    def __init__(self, num_items: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__(num_items, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, num_layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, history: Tensor, user: Tensor) -> Tensor:
        """Reads the state after the last item, shape [B, hidden_size]; the user plays no part."""
        items, length = left_aligned(history)
        states, _ = self.gru(self.dropout(self.output(items)))
        state: Tensor = self.dropout(last_state(states, length))
        return state


class GRU4Rec(SequentialRecommender):
    """GRU4Rec, trained by cross entropy over the whole catalogue.

    Args:
        optimizer: Takes the trained parameters.
        lr_scheduler: Any schedule; its length is filled in, see `TrainedRankingModule`.
        hidden_size: Units (100 or 1000 in the paper).
        num_layers: Layers; one is best in the paper.
        dropout: Of item vectors and of states.
    """

    def __init__(
        self,
        optimizer: OptimizerFactory,
        lr_scheduler: SchedulerFactory | None = None,
        hidden_size: int = 100,
        num_layers: int = 1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(optimizer, lr_scheduler)
        require_at_least(1, hidden_size=hidden_size, num_layers=num_layers)
        require_share(dropout=dropout)
        self._settings = (hidden_size, num_layers, dropout)

    def build_network(self, num_items: int, num_users: int) -> GRU4RecNetwork:
        """Makes the GRU."""
        return GRU4RecNetwork(num_items, *self._settings)
