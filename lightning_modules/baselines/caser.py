"""Caser: Tang and Wang, Personalized top-N sequential recommendation via convolutional sequence embedding.

WSDM 2018, arXiv 1809.07426.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from datamodules.checks import require_at_least, require_share
from lightning_modules.baselines.sequential import SequenceNetwork, SequentialRecommender
from lightning_modules.trained import OptimizerFactory, SchedulerFactory


class CaserNetwork(SequenceNetwork):
    """Convolutions over the image that the last L item vectors make, beside a vector of the user (section 3).

    A user's vector starts at 0 and stays there for users without a training example: with splits cut at global times
    these are most, and a random vector would be noise.

    Args:
        num_items: Size of the catalogue.
        num_users: Users.
        length: L, items that are looked at.
        hidden_size: d, length of an item's and of a user's vector.
        num_horizontal: Horizontal filters per height 1..L.
        num_vertical: Vertical filters.
        dropout: Of the convolutions' output.
    """

    def __init__(
        self,
        num_items: int,
        num_users: int,
        length: int,
        hidden_size: int,
        num_horizontal: int,
        num_vertical: int,
        dropout: float,
    ) -> None:
        super().__init__(num_items, 2 * hidden_size)
        self.length = length
        self.items = nn.Embedding(num_items, hidden_size)
        nn.init.normal_(self.items.weight, std=hidden_size**-0.5)
        self.users = nn.Embedding(num_users, hidden_size)
        nn.init.zeros_(self.users.weight)
        self.horizontal = nn.ModuleList(
            nn.Conv1d(hidden_size, num_horizontal, height) for height in range(1, length + 1)
        )
        self.vertical = nn.Linear(length, num_vertical, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(length * num_horizontal + num_vertical * hidden_size, hidden_size)

    def forward(self, history: Tensor, user: Tensor) -> Tensor:
        """Joins the sequence's vector z and the user's P_u (equations 7 to 9), shape [B, 2 · hidden_size]."""
        image = self._image(history)
        heights = [functional.relu(convolve(image)).amax(dim=2) for convolve in self.horizontal]
        features = torch.cat([*heights, self.vertical(image).flatten(1)], dim=1)
        sequence = functional.relu(self.dense(self.dropout(features)))
        return torch.cat([sequence, self.users(user)], dim=1)

    def _image(self, history: Tensor) -> Tensor:
        """Vectors of the last L items, 0 where there is none, shape [B, hidden_size, L]."""
        last = functional.pad(history, (self.length, 0), value=-1)[:, -self.length :]
        return torch.where((last >= 0)[:, :, None], self.items(last.clamp(min=0)), 0.0).transpose(1, 2)


class Caser(SequentialRecommender):
    """Caser with T = 1 target, trained by cross entropy over the whole catalogue.

    Args:
        optimizer: Takes the trained parameters.
        lr_scheduler: Any schedule; its length is filled in, see `TrainedRankingModule`.
        length: L (1 to 9 in the paper, 5 on MovieLens).
        hidden_size: d (5 to 100 in the paper, 50 on MovieLens).
        num_horizontal: Horizontal filters per height (4 to 64 in the paper, 16 on MovieLens).
        num_vertical: Vertical filters (1 to 16 in the paper, 4 on MovieLens).
        dropout: Of the convolutions' output; 0.5 in the paper.
    """

    numbered: ClassVar[tuple[str, ...]] = ("items", "users")

    def __init__(
        self,
        optimizer: OptimizerFactory,
        lr_scheduler: SchedulerFactory | None = None,
        length: int = 5,
        hidden_size: int = 50,
        num_horizontal: int = 16,
        num_vertical: int = 4,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(optimizer, lr_scheduler)
        require_at_least(
            1,
            length=length,
            hidden_size=hidden_size,
            num_horizontal=num_horizontal,
            num_vertical=num_vertical,
        )
        require_share(dropout=dropout)
        self._settings = (length, hidden_size, num_horizontal, num_vertical, dropout)

    def build_network(self, num_items: int, num_users: int) -> CaserNetwork:
        """Makes the convolutions."""
        return CaserNetwork(num_items, num_users, *self._settings)
