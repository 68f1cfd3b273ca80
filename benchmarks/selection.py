"""DynamicPO's selection and β alone: batched and exact against k-means per example.

python -m benchmarks.selection
"""

import torch

from benchmarks import usual
from benchmarks.measure import median_seconds
from benchmarks.table import markdown
from benchmarks.usual import boundary, dual_margin
from datamodules.output_streams import outlive_readers
from losses import DMPO, DynamicPO, ResponseScores

BATCH, NEGATIVES = 32, 19


def without_violations(batch: int, negatives: int) -> ResponseScores:
    """Log-probabilities in which the positive is best everywhere, so that every example is clustered."""
    generator = torch.Generator().manual_seed(0)
    policy = -10 - 20 * torch.rand(batch, 1 + negatives, generator=generator)
    policy[:, 0] = -5.0
    return ResponseScores(policy)


def ours(scores: ResponseScores) -> None:
    """Selects and sets β for the whole batch."""
    objective = DynamicPO(DMPO(beta=1.0))
    objective.beta_rule(scores, objective.selection(scores), objective.beta)


def one_by_one(scores: ResponseScores) -> None:
    """The same per example, on the CPU."""
    for row in scores.policy.double().numpy():
        dual_margin(row, boundary(row), beta=1.0, gamma=2.0, alpha=0.5)


def main() -> None:
    """Measures and prints a table."""
    scores = without_violations(BATCH, NEGATIVES)
    batched = median_seconds(lambda: ours(scores), steps=50)
    rows = [["ours, the batch at once", f"{1e3 * batched:.2f}", ""]]
    if usual.KMeans is None:
        print("scikit-learn is not installed: ours alone is measured")
    else:
        apart = median_seconds(lambda: one_by_one(scores), steps=10)
        rows.append(["scikit-learn, per example", f"{1e3 * apart:.2f}", f"{apart / batched:.0f} ×"])
    print(markdown((f"{BATCH} examples, K = {NEGATIVES}", "ms", "ours is faster by"), rows))


if __name__ == "__main__":
    outlive_readers()
    main()
