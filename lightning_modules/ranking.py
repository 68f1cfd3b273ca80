"""Ranking candidates, and what it is judged by."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from datamodules.batches import Batch
from lightning_modules.exact import require_every_example


def rank_of(scores: Tensor, positive: Tensor) -> Tensor:
    """Ranks the positive among the candidates, best is 0.

    Equal scores are ranked in the order of the list, which is random per example: an expected rank, so that a
    rule that scores everything alike gets chance. A score that is not a number ranks last.

    Args:
        scores: Shape [B, C].
        positive: Column of the positive, shape [B].

    Returns:
        Ranks, shape [B].
    """
    scores = torch.nan_to_num(scores, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    own = scores.gather(1, positive[:, None])
    earlier = torch.arange(scores.shape[1], device=scores.device) < positive[:, None]
    return ((scores > own) | ((scores == own) & earlier)).sum(dim=1)


def rank_metrics(rank: Tensor) -> dict[str, Tensor]:
    """Return what an example contributes to each metric, with one relevant item.

    Args:
        rank: Rank of the positive, best is 0, in floating point, shape [N].

    Returns:
        Metric to values of that type, shape [N].
    """
    return {
        "hit_ratio@1": (rank < 1).to(rank),
        "hit_ratio@5": (rank < 5).to(rank),
        "ndcg@5": torch.where(rank < 5, 1 / torch.log2(rank + 2), 0.0),
        "mrr": 1 / (rank + 1),
    }


class RankingMetrics(nn.Module):
    """hit_ratio@1, hit_ratio@5, ndcg@5 and mrr with one relevant item, over all examples of all ranks.

    Args:
        prefix: `val/` or `test/`.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        names = ("hit_ratio@1", "hit_ratio@5", "ndcg@5", "mrr")
        self._metrics = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in names})

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RankingMetrics":
        """Keep sums in float32 where a precision such as `bf16-true` casts the module: bfloat16 counts to 256."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for metric in self.named().values():
            if metric.mean_value.dtype.itemsize < 4:
                metric.set_dtype(torch.float32)
        return self

    def update(self, ranks: Tensor) -> None:
        """Adds a batch of ranks, see `rank_of`."""
        metrics = self.named()
        for name, value in rank_metrics(ranks.float()).items():
            metrics[f"{self._prefix}{name}"].update(value)

    def named(self) -> dict[str, MeanMetric]:
        """The metrics under the names they are logged by."""
        metrics = cast(dict[str, MeanMetric], dict(self._metrics.items()))
        return {f"{self._prefix}{name}": metric for name, metric in metrics.items()}


class RankingModule(pl.LightningModule):
    """Anything that scores candidates: a language model or a rule that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.val_metrics = RankingMetrics("val/")
        self.test_metrics = RankingMetrics("test/")
        self._evaluated = 0

    @abstractmethod
    def candidate_scores(self, batch: Batch) -> Tensor:
        """Scores every candidate, higher is better, shape [B, C]."""

    def _evaluate(self, batch: Batch, metrics: RankingMetrics) -> dict[str, Tensor]:
        rank = rank_of(self.candidate_scores(batch), batch.positive)
        metrics.update(rank)
        self._evaluated += len(batch)
        self.log_dict(metrics.named(), on_step=False, on_epoch=True, batch_size=len(batch))
        return {"id": batch.id, "user": batch.user, "rank": rank}

    def on_validation_epoch_start(self) -> None:
        """Starts counting."""
        self._evaluated = 0

    def on_test_epoch_start(self) -> None:
        """Starts counting."""
        self._evaluated = 0

    def on_validation_epoch_end(self) -> None:
        """Checks that every example was ranked once, see `require_every_example`."""
        require_every_example(self.trainer, self._evaluated)

    def on_test_epoch_end(self) -> None:
        """Checks that every example was ranked once, see `require_every_example`."""
        require_every_example(self.trainer, self._evaluated)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Ranks the candidates of a batch; returns `id`, `user` and `rank` of the positive (best is 0), each [B]."""
        return self._evaluate(batch, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Ranks the candidates of a batch; returns `id`, `user` and `rank` of the positive (best is 0), each [B]."""
        return self._evaluate(batch, self.test_metrics)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Returns what `PredictionWriter` writes: ids, users and positives [B], items and scores [B, C]."""
        positive = batch.items.gather(1, batch.positive[:, None])[:, 0]
        scores = self.candidate_scores(batch)
        return {
            "id": batch.id,
            "user": batch.user,
            "positive": positive,
            "items": batch.items,
            "scores": scores,
        }
