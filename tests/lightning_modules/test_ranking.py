import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalNormalizedDCG

from lightning_modules.ranking import RankingMetrics, rank_of


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 12), columns=st.integers(2, 25))
def test_metrics_equal_torchmetrics_retrieval(seed: int, rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, columns, generator=generator)
    positive = torch.randint(columns, (rows,), generator=generator)
    metrics = RankingMetrics("test/")
    for start in range(0, rows, 5):
        metrics.update(rank_of(scores[start : start + 5], positive[start : start + 5]))
    relevant = torch.zeros(rows, columns, dtype=torch.bool).scatter(1, positive[:, None], True).flatten()
    query = torch.arange(rows).repeat_interleave(columns)
    oracles = {
        "hit_ratio@1": RetrievalHitRate(top_k=1),
        "hit_ratio@5": RetrievalHitRate(top_k=5),
        "ndcg@5": RetrievalNormalizedDCG(top_k=5),
        "mrr": RetrievalMRR(),
    }
    for name, oracle in oracles.items():
        # Only the order counts; torchmetrics leaves out scores that are not positive.
        expected = oracle(scores.sigmoid().flatten(), relevant, indexes=query)
        torch.testing.assert_close(metrics.named()[f"test/{name}"].compute(), expected, rtol=0, atol=1e-5)


def test_ranks_by_hand() -> None:
    """Row 0: one score is above 0.5, so rank 1. Row 1: of two equal best scores the earlier column wins.

    Row 2: a target that is not a number is behind the numbers, also behind an earlier NaN. Row 3: all alike, the
    place in the list decides, so a constant rule is right once in C.
    """
    nan = float("nan")
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.3, 0.7, 0.7], [nan, -1.0, nan], [0.0, 0.0, 0.0]])
    assert rank_of(scores, torch.tensor([1, 2, 2, 1])).tolist() == [1, 1, 2, 1]


def test_values_by_hand() -> None:
    """Ranks 1 and 3 (best is 1): hit_ratio@1 (1 + 0) / 2, ndcg@5 (1 + 1 / log2 4) / 2 = 0.75, mrr (1 + 1 / 3) / 2."""
    metrics = RankingMetrics("val/")
    metrics.update(torch.tensor([0, 2]))
    values = {name: metric.compute().item() for name, metric in metrics.named().items()}
    assert values["val/hit_ratio@1"] == 0.5
    assert values["val/hit_ratio@5"] == 1.0
    assert values["val/ndcg@5"] == 0.75
    assert abs(values["val/mrr"] - 2 / 3) < 1e-6


def test_a_precision_that_casts_the_module_counts_exactly() -> None:
    """510 of 1,500 targets rank first, .34; a sum in bfloat16 stops growing at 256."""
    module = torch.nn.ModuleList([RankingMetrics("val/")]).to(torch.bfloat16)
    metrics = module[0]
    for _ in range(30):
        metrics.update(torch.arange(50) % 3)
    assert metrics.named()["val/hit_ratio@1"].compute().item() == pytest.approx(510 / 1500, abs=1e-6)
