"""What we are measured against computes the same loss: on a tiny model, from repeated prompts."""

import copy

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import usual
from benchmarks.ranking import compare
from benchmarks.usual import repeat_prompts, sequence_log_probs
from benchmarks.workload import move_away
from datamodules.packing import PackedBatch, pack
from lightning_modules.scoring import response_log_probs
from losses import DMPO, SDPO, DynamicPO, Objective, ResponseScores, three_means_boundary

EOS, VOCABULARY, BATCH = 2, 50, 5


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config)


def packed_batch(k: int) -> PackedBatch:
    rng = np.random.default_rng(k)

    def tokens(low: int, high: int) -> np.ndarray:
        return rng.integers(3, VOCABULARY, size=rng.integers(low, high)).astype(np.int32)

    prompts = [tokens(3, 20) for _ in range(BATCH)]
    responses = [[np.append(tokens(1, 6), EOS).astype(np.int32) for _ in range(1 + k)] for _ in prompts]
    return pack(prompts, responses)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(
    ("released", "objective"),
    [
        (usual.dmpo, DMPO(beta=1.0)),
        (usual.sdpo, SDPO(beta=1.0)),
        (usual.dynamicpo, DynamicPO(DMPO(beta=1.0))),
    ],
)
def test_loss_and_gradient_equal_ours(
    model: LlamaForCausalLM, released: usual.Loss, objective: Objective, k: int
) -> None:
    policy, packed = copy.deepcopy(model), packed_batch(k)
    move_away(policy, scale=0.02)
    repeated = repeat_prompts(packed)
    with torch.no_grad():
        reference = response_log_probs(model, packed)
        known = sequence_log_probs(model, repeated)

    expected, selected = released(sequence_log_probs(policy, repeated), known)
    out = objective(ResponseScores(response_log_probs(policy, packed), reference))

    assert out.selected.tolist() == selected.tolist()
    torch.testing.assert_close(out.loss.mean(), expected, rtol=0, atol=1e-4)
    assert expected.item() != pytest.approx(np.log(2), abs=1e-3)
    trained = list(policy.parameters())
    pairs = zip(
        torch.autograd.grad(out.loss.mean(), trained), torch.autograd.grad(expected, trained), strict=True
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3 * max(1.0, theirs.abs().max().item()))


@pytest.mark.parametrize("by_hand", [False, True])
def test_boundary_where_nothing_violates(by_hand: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three groups far apart, at -2, -8 and -20: the first two negatives are the highest cluster."""
    if by_hand:
        monkeypatch.setattr(usual, "KMeans", None)
    scores = np.array([-1.0, -2.0, -2.1, -8.0, -8.2, -20.0])
    assert usual.boundary(scores).tolist() == [True, True, False, False, False]
    assert (
        three_means_boundary(ResponseScores(torch.from_numpy(scores)[None]))[0].tolist()
        == [True] * 2 + [False] * 3
    )


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_brute_force_clusters_equal_ours(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usual, "KMeans", None)
    rng = np.random.default_rng(count)
    for _ in range(20):
        scores = np.concatenate([[0.0], -1 - 20 * rng.random(count)])
        ours = three_means_boundary(ResponseScores(torch.from_numpy(scores)[None]))[0]
        assert usual.boundary(scores).tolist() == ours.tolist()


def test_ranking_agrees_and_says_so_otherwise(
    model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = packed_batch(3)
    assert all(seconds > 0 for seconds in compare(model, packed, steps=1))
    monkeypatch.setattr("benchmarks.ranking.response_log_probs", lambda *_: torch.zeros(BATCH, 4))
    with pytest.raises(AssertionError, match="must rank alike"):
        compare(model, packed, steps=1)
