"""DynamicPO's boundary-critical negatives: exact one-dimensional three-means, batched, on the device.

The released code calls scikit-learn's KMeans for each example, which finds the optimum about four times in
five. In one dimension clusters are intervals of the sorted values, so all pairs of cuts can be tried: K² of
them, as one tensor.
"""

import torch
from torch import Tensor

from losses.scores import ResponseScores

# Two splits are equally good if their costs agree to this. Rounding stays near 1e-14 of the cost (see
# `_scatter`); between splits into fewer and into more clusters lies at least 1 / (2K) of it, so no tie of the
# method is missed or invented.
TIE = 1e-9


@torch.no_grad()
def three_means_boundary(scores: ResponseScores) -> Tensor:
    """B, the boundary-critical negatives of each prompt, from the policy's log-probabilities.

    B = {i : s_i ≥ s_w}, the violations; where there are none, the highest of min(3, distinct values) clusters
    of {s_i}, clustered with the least sum of squares. Equal values share a cluster; of equally good splits
    the one with the larger B counts, so the order of the negatives never matters.

    Source: DynamicPO, arXiv 2605.00327, dynamic boundary negative selection.

    Args:
        scores: Log-probabilities, finite where not masked. Computed in float64, which rules out devices
            without it (MPS).

    Returns:
        `[B, K]` bool; empty only in a row that is masked altogether.
    """
    present = scores.present
    policy = scores.policy.to(torch.float64)
    positive, negatives = policy[:, :1], torch.where(present, policy[:, 1:], -torch.inf)
    ranked = negatives.sort(dim=1, descending=True).values
    violated = ranked[:, :1] >= positive
    floor = torch.where(violated, positive, top_cluster_floor(ranked))
    # Not `>=`: what is not a number would leave B empty and S-DPO's loss at 0, and nobody would hear of it.
    return ~(negatives < floor) & present


def top_cluster_floor(ranked: Tensor) -> Tensor:
    """Least value of the highest cluster, under the best split of each row into at most three.

    Args:
        ranked: `[N, K]` float64, descending, −inf (at the end) where nothing is.

    Returns:
        `[N, 1]`.
    """
    scatter = _scatter(ranked)
    top, middle = scatter[:, 0], scatter[:, 1:]
    last = (ranked > -torch.inf).sum(dim=1).sub(1).clamp(min=0)
    bottom = middle.gather(2, last[:, None, None].expand(-1, middle.shape[1], 1)).squeeze(2)
    # Indexed by the last value of the top cluster, and inside the minimum by that of the middle one. Splits
    # that are none need no ban, they only cost more: a middle that ends before it starts counts as empty and
    # its bottom overlaps the top; a cluster that reaches past the last value takes in more points. Nor do
    # cuts between equal values: the cost is concave in how many of them go to either side.
    cost = top + (middle + bottom[:, None, :]).amin(dim=2)
    best = cost <= cost.amin(dim=1, keepdim=True) * (1 + TIE)
    return torch.where(best, ranked, torch.inf).amin(dim=1, keepdim=True)


def _scatter(ranked: Tensor) -> Tensor:
    """Sum of squared deviations from the mean, of every interval of every row.

    As Σ_{p<q} (x_p − x_q)² / n: only differences and positive terms, so each result is right to a few units
    in its last place, however far from 0 the values lie.

    Args:
        ranked: `[N, K]` float64, −inf where nothing is.

    Returns:
        `[N, K + 1, K]`; [n, i, j] belongs to the values from i to j, both included, and is 0 where i ≥ j.
    """
    size = ranked.shape[1]
    position = torch.arange(size + 1, device=ranked.device)
    counts = position[:size] - position[:, None] + 1
    values = torch.where(ranked > -torch.inf, ranked, 0.0)
    squares = (values[:, :, None] - values[:, None, :]).square() * (counts[1:] > 0)
    # On the CPU a product would wake the thread pool for microseconds of work, and wait for it where the
    # machine is busy. On CUDA a cumulative sum is refused where Lightning is told to be deterministic.
    sums = _interval_sums(squares) if ranked.device.type == "cpu" else _interval_sums_as_products(squares)
    return sums / counts.clamp(min=1)


def _interval_sums(squares: Tensor) -> Tensor:
    """Sum over p ≥ i and q ≤ j of `[N, K, K]`, for i up to K: `[N, K + 1, K]`."""
    sums = squares.cumsum(dim=2).flip(1).cumsum(dim=1).flip(1)
    return torch.nn.functional.pad(sums, (0, 0, 0, 1))


def _interval_sums_as_products(squares: Tensor) -> Tensor:
    """The same as `_interval_sums`, by products with triangles of ones."""
    rows, size, _ = squares.shape
    within = squares.new_ones(size + 1, size).triu().expand(rows, -1, -1)
    return torch.bmm(torch.bmm(within, squares), within[:, :size])
