"""Shared-prefix scores against the plain way: every response behind its own copy of the prompt."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from datamodules.packing import pack
from lightning_modules import scoring
from lightning_modules.language_model import causal_lm
from lightning_modules.scoring import hidden_states, response_log_probs, token_log_probs

EOS, VOCABULARY = 2, 50


def llama(dtype: torch.dtype, key_value_heads: int = 4) -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=key_value_heads,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).to(dtype)


def ragged_batch() -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    rng = np.random.default_rng(0)

    def tokens(low: int, high: int) -> np.ndarray:
        return rng.integers(3, VOCABULARY, size=rng.integers(low, high)).astype(np.int32)

    prompts = [tokens(1, 20) for _ in range(4)]
    responses = [[np.append(tokens(0, 7), EOS).astype(np.int32) for _ in range(n)] for n in (5, 1, 3, 4)]
    return prompts, responses


def plain_log_probs(model: PreTrainedModel, prompts, responses) -> Tensor:
    """One unpadded forward per response through the whole model, no mask: shape [B, R], 0 where absent."""
    rows = []
    for prompt, own in zip(prompts, responses, strict=True):
        scores = []
        for response in own:
            ids = torch.from_numpy(np.concatenate([prompt, response])).long()[None]
            log_probs = model(input_ids=ids).logits[0].log_softmax(-1)
            places = torch.arange(len(prompt) - 1, len(prompt) + len(response) - 1)
            scores.append(log_probs[places, torch.from_numpy(response).long()].sum())
        rows.append(torch.stack(scores + [scores[0].detach() * 0] * (5 - len(own))))
    return torch.stack(rows)


def plain(policy) -> PreTrainedModel:
    return policy


def with_lora(policy):
    adapted = get_peft_model(policy, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return adapted


def with_checkpointing(policy: PreTrainedModel) -> PreTrainedModel:
    policy.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return policy.train()


@pytest.mark.parametrize(
    ("dtype", "tolerance", "gradient_tolerance"), [(torch.float64, 1e-9, 1e-6), (torch.float32, 1e-4, 1e-4)]
)
@pytest.mark.parametrize("key_value_heads", [4, 2, 1])
@pytest.mark.parametrize("prepare", [plain, with_lora, with_checkpointing])
def test_packed_scores_equal_plain_ones(
    dtype: torch.dtype, tolerance: float, gradient_tolerance: float, key_value_heads: int, prepare: Callable
) -> None:
    policy = prepare(llama(dtype, key_value_heads))
    model = causal_lm(policy)
    prompts, responses = ragged_batch()
    weights = torch.randn(4, 5, dtype=dtype)
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]

    packed = response_log_probs(model, pack(prompts, responses))
    packed_gradients = torch.autograd.grad((packed * weights).sum(), trained)
    expected = plain_log_probs(model, prompts, responses)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), trained)

    assert packed.dtype == dtype
    torch.testing.assert_close(packed, expected, rtol=0, atol=tolerance)
    for found, gradient in zip(packed_gradients, expected_gradients, strict=True):
        scale = gradient.abs().max().clamp(min=1.0)
        torch.testing.assert_close(found / scale, gradient / scale, rtol=0, atol=gradient_tolerance)


def test_a_response_does_not_depend_on_its_neighbours() -> None:
    model = llama(torch.float64)
    prompts, responses = ragged_batch()
    together = response_log_probs(model, pack(prompts, responses))
    for row, (prompt, own) in enumerate(zip(prompts, responses, strict=True)):
        reverse = response_log_probs(model, pack([prompt], [own[::-1]]))[0]
        torch.testing.assert_close(reverse.flip(0), together[row, : len(own)], rtol=0, atol=1e-9)


def test_only_scored_positions_reach_the_vocabulary_projection() -> None:
    """Rows: one per response token but EOS, and one per prompt; the plain way projects every position."""
    model = llama(torch.float32)
    prompts, responses = ragged_batch()
    rows = []
    model.lm_head.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].shape[0]))
    response_log_probs(model, pack(prompts, responses))
    assert rows == [len(prompts) + sum(len(response) - 1 for own in responses for response in own)]


def test_history_tokens_equal_plain_ones() -> None:
    model = llama(torch.float64)
    prompts, responses = ragged_batch()
    spans = np.array([[0, len(prompt)] for prompt in prompts])
    packed = pack(prompts, responses, spans)
    history = packed.history
    everywhere = torch.arange(len(history.target))
    found = token_log_probs(model, hidden_states(model, packed), history.source, everywhere, history.target)
    for row, prompt in enumerate(prompts):
        ids = torch.from_numpy(prompt).long()
        log_probs = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        expected = log_probs[:-1].gather(1, ids[1:, None])[:, 0]
        torch.testing.assert_close(found[history.row == row], expected, rtol=0, atol=1e-9)


def test_scores_are_in_float32_under_bfloat16() -> None:
    model = llama(torch.float32)
    batch = pack(*ragged_batch())
    exact = response_log_probs(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = response_log_probs(model, batch)
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, exact)


@pytest.mark.parametrize(
    ("dtype", "autocast", "tolerance"), [(torch.float64, False, 1e-6), (torch.float32, True, 0.02)]
)
@pytest.mark.parametrize("most", [1, 7 * VOCABULARY, 10**6])
def test_logits_in_parts_give_the_same_scores_and_gradients(
    most: int, dtype: torch.dtype, autocast: bool, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row at a time, seven, or all at once; a row is projected alone in the backward pass too."""
    model = llama(dtype)
    packed = pack(*ragged_batch())

    def scores_and_gradients() -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            scores = response_log_probs(model, packed)
        return [scores.detach(), *torch.autograd.grad(scores.pow(2).sum(), list(model.parameters()))]

    expected = scores_and_gradients()
    monkeypatch.setattr(scoring, "_MOST_LOGITS", most)
    rows: list[int] = []
    model.lm_head.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].shape[0]))
    for whole, parts in zip(expected, scores_and_gradients(), strict=True):
        assert (parts - whole).norm() <= tolerance * whole.norm()
    used = len(packed.source)
    assert max(rows) == min(max(1, most // VOCABULARY), used)
    assert sum(rows) == (used if most == 10**6 else 2 * used)
