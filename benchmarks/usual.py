"""The usual way to compute a multi-negative preference loss, as trainers for recommendation release it.

Every response stands behind its own copy of the prompt, rows are padded to the longest, all positions of all
rows go through the vocabulary in float32, the reference is a second model, and k-means runs on the CPU once
per example. Written from the method's description; it is measured against, and trains nothing.
"""

import importlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.nn.utils.rnn import pad_sequence

from datamodules.packing import PROMPT, PackedBatch

KMeans: Any = None
with suppress(ImportError):
    KMeans = importlib.import_module("sklearn.cluster").KMeans

IGNORED = -100


@dataclass(frozen=True)
class RepeatedBatch:
    """B · (1 + K) rows of prompt and response, all positives first, then all first negatives, and so on.

    Attributes:
        input_ids: Shape [(1 + K) · B, T].
        attention_mask: 1 where a token is, shape [(1 + K) · B, T].
        labels: The response's tokens, -100 elsewhere, shape [(1 + K) · B, T].
        batch_size: B.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    batch_size: int


def split_rows(packed: PackedBatch) -> list[tuple[Tensor, list[Tensor]]]:
    """Takes a packed batch apart again: per prompt its tokens and those of its responses, EOS included."""
    rows = []
    for row in range(len(packed.input_ids)):
        prompt = packed.input_ids[row, packed.segment_ids[row] == PROMPT]
        responses = [
            tokens[mask] for tokens, mask in zip(packed.target[row], packed.token_mask[row], strict=True)
        ]
        rows.append((prompt, responses))
    return rows


def repeat_prompts(packed: PackedBatch) -> RepeatedBatch:
    """Puts every response behind its own copy of the prompt."""
    rows = split_rows(packed)
    pairs = [(prompt, own[index]) for index in range(len(rows[0][1])) for prompt, own in rows]
    inputs = [torch.cat(pair) for pair in pairs]
    labels = [torch.cat([torch.full_like(prompt, IGNORED), response]) for prompt, response in pairs]
    return RepeatedBatch(
        input_ids=pad_sequence(inputs, batch_first=True),
        attention_mask=pad_sequence([torch.ones_like(row) for row in inputs], batch_first=True),
        labels=pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        batch_size=len(rows),
    )


def sequence_log_probs(model: torch.nn.Module, batch: RepeatedBatch) -> Tensor:
    """Sums log-probabilities of the responses' tokens, shape [B, 1 + K]."""
    output = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    logits = output.logits.float()[:, :-1]
    labels = batch.labels[:, 1:]
    mask = labels != IGNORED
    chosen = logits.log_softmax(dim=-1).gather(2, labels.clamp(min=0)[:, :, None])[:, :, 0]
    return (chosen * mask).sum(dim=1).view(-1, batch.batch_size).T


def clusters(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Labels of at most three clusters of some numbers, as released; by brute force without scikit-learn."""
    count = min(3, len(np.unique(values)))
    if KMeans is not None:
        return KMeans(n_clusters=count, random_state=42, n_init=1).fit(values[:, None]).labels_
    ordered = np.sort(values)
    cuts = [(i, j) for i in range(1, len(values)) for j in range(i, len(values))] if count > 1 else []

    def cost(cut: tuple[int, ...]) -> float:
        return sum(float(part.var()) * len(part) for part in np.split(ordered, cut) if len(part))

    best = min(cuts, key=cost, default=())
    return np.searchsorted(ordered[list(best)], values, side="right")


def boundary(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """B of one example: negatives at or above the positive, otherwise the cluster with the highest mean.

    Args:
        scores: Log-probabilities, the positive first, shape [1 + K].

    Returns:
        Shape [K].
    """
    positive, negatives = scores[0], scores[1:]
    if (negatives >= positive).any():
        return negatives >= positive
    labels = clusters(negatives)
    highest = max(set(labels.tolist()), key=lambda label: negatives[labels == label].mean())
    return labels == highest


def dual_margin(
    scores: NDArray[np.float64], chosen: NDArray[np.bool_], beta: float, gamma: float, alpha: float
) -> NDArray[np.float64]:
    """β of the chosen negatives of one example, shape [number chosen]."""
    positive, negatives = scores[0], scores[1:]
    easy = negatives[~chosen] if (~chosen).any() else negatives
    up = positive - negatives[chosen]
    down = negatives[chosen] - easy.mean()
    return beta * (1 + alpha * np.tanh((up - down - gamma) / (np.abs(up) + np.abs(down))))


Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def dmpo(policy: Tensor, reference: Tensor, beta: float = 1.0) -> tuple[Tensor, Tensor]:
    """Mean loss of DMPO and the negatives in it, all; arguments of shape [B, 1 + K]."""
    rewards = beta * (policy - reference)
    loss = -logsigmoid(rewards[:, 0] - rewards[:, 1:].mean(dim=1)).mean()
    return loss, torch.ones_like(rewards[:, 1:], dtype=torch.bool)


def sdpo(policy: Tensor, reference: Tensor, beta: float = 1.0) -> tuple[Tensor, Tensor]:
    """Mean loss of S-DPO, exponentials and all, and the negatives in it, all; arguments of shape [B, 1 + K]."""
    rewards = beta * (policy - reference)
    ratio = (rewards[:, 1:] - rewards[:, :1]).exp().sum(dim=1)
    return -logsigmoid(-ratio.log()).mean(), torch.ones_like(rewards[:, 1:], dtype=torch.bool)


def dynamicpo(
    policy: Tensor, reference: Tensor, beta: float = 1.0, gamma: float = 2.0, alpha: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Mean loss of DynamicPO on DMPO and the negatives in it, example by example; arguments of shape [B, 1 + K]."""
    ratios = policy - reference
    losses, selected = [], []
    for row in range(len(policy)):
        scores = policy[row].detach().double().cpu().numpy()
        chosen = boundary(scores)
        betas = torch.from_numpy(dual_margin(scores, chosen, beta, gamma, alpha)).to(ratios)
        mask = torch.from_numpy(chosen)
        losses.append(-logsigmoid((betas * (ratios[row, 0] - ratios[row, 1:][mask])).mean()))
        selected.append(mask)
    return torch.stack(losses).mean(), torch.stack(selected)
