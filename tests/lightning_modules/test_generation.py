"""Greedy generation against one plain forward per token; constrained generation against a trie."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from datamodules.packing import PackedBatch, pack
from lightning_modules.generation import constrained_choice, greedy_tokens, left_padded_prompts
from lightning_modules.language_model import causal_lm
from lightning_modules.scoring import response_log_probs

EOS, VOCABULARY = 2, 20
Responses = list[list[np.ndarray]]


def llama(seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        attn_implementation="sdpa",
        initializer_range=0.5,
        eos_token_id=EOS,
    )
    return LlamaForCausalLM(config).double().eval()


def ragged_batch(seed: int) -> tuple[list[np.ndarray], Responses]:
    """Prompts of 1 to 12 tokens with 6 candidates each out of three tokens, so that prefixes are shared and nested."""
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(3, VOCABULARY, size=length).astype(np.int32) for length in (12, 1, 5, 9)]
    responses = []
    for _ in prompts:
        titles: set[tuple[int, ...]] = set()
        while len(titles) < 6:
            titles.add(tuple(rng.integers(3, 6, size=rng.integers(1, 5)).tolist()))
        responses.append([np.array([*title, EOS], dtype=np.int32) for title in titles])
    return prompts, responses


def next_logits(model: PreTrainedModel, prompt: np.ndarray, written: list[int]) -> Tensor:
    """One unpadded forward through the whole model, no cache: shape [vocabulary]."""
    return model(input_ids=torch.tensor([[*prompt.tolist(), *written]])).logits[0, -1]


def plain_greedy(model: PreTrainedModel, prompt: np.ndarray, most: int) -> list[int]:
    written: list[int] = []
    while len(written) < most and written[-1:] != [EOS]:
        written.append(int(next_logits(model, prompt, written).argmax()))
    return written


def trie_greedy(model: PreTrainedModel, prompt: np.ndarray, candidates: list[np.ndarray]) -> list[int]:
    """Walks an explicit trie of nested dictionaries."""
    root: dict = {}
    for candidate in candidates:
        node = root
        for token in candidate.tolist():
            node = node.setdefault(token, {})
    written: list[int] = []
    node = root
    while node:
        logits = next_logits(model, prompt, written)
        written.append(max(node, key=lambda token: logits[token].item()))
        node = node[written[-1]]
    return written


def rows(answers: Tensor) -> list[list[int]]:
    """Cuts after the first EOS."""
    cut = []
    for row in answers.tolist():
        end = row.index(EOS) + 1 if EOS in row else len(row)
        assert set(row[end:]) <= {EOS}
        cut.append(row[:end])
    return cut


def with_lora(model: PreTrainedModel):
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return adapted.double().eval()


@pytest.mark.parametrize("prepare", [lambda model: model, with_lora])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_batch_writes_what_a_plain_loop_writes(seed: int, prepare: Callable) -> None:
    model = causal_lm(prepare(llama(seed)))
    prompts, responses = ragged_batch(seed)
    found = rows(greedy_tokens(model, pack(prompts, responses), EOS, max_new_tokens=9))
    assert found == [plain_greedy(model, prompt, 9) for prompt in prompts]


def test_a_batch_is_one_by_one() -> None:
    model = llama(3)
    prompts, responses = ragged_batch(3)
    together = pack(prompts, responses)
    written, chosen = rows(greedy_tokens(model, together, EOS, 9)), constrained_choice(model, together)
    for row, (prompt, own) in enumerate(zip(prompts, responses, strict=True)):
        alone = pack([prompt], [own])
        assert rows(greedy_tokens(model, alone, EOS, 9)) == [written[row]]
        assert constrained_choice(model, alone).tolist() == [chosen[row]]


def test_the_responses_of_a_row_do_not_reach_the_prompt() -> None:
    prompts, responses = ragged_batch(0)
    tokens, mask = left_padded_prompts(pack(prompts, responses))
    assert tokens.shape == mask.shape == (4, 12)
    for row, prompt in enumerate(prompts):
        assert tokens[row, mask[row].bool()].tolist() == prompt.tolist()
        assert mask[row].tolist() == [0] * (12 - len(prompt)) + [1] * len(prompt)


@pytest.mark.parametrize("seed", range(8))
def test_constrained_generation_is_the_walk_through_the_trie(seed: int) -> None:
    model = llama(seed)
    prompts, responses = ragged_batch(seed)
    chosen = constrained_choice(model, pack(prompts, responses)).tolist()
    for prompt, own, column in zip(prompts, responses, chosen, strict=True):
        assert own[column].tolist() == trie_greedy(model, prompt, own)


def test_constrained_generation_is_what_generate_writes_under_the_constraint() -> None:
    model = llama(1)
    prompts, responses = ragged_batch(1)
    packed = pack(prompts, responses)
    tokens, mask = left_padded_prompts(packed)

    def allowed(row: int, written: Tensor) -> list[int]:
        so_far = written[tokens.shape[1] :].tolist()
        own = [candidate.tolist() for candidate in responses[row]]
        return [c[len(so_far)] for c in own if c[: len(so_far)] == so_far and len(c) > len(so_far)] or [EOS]

    settings = GenerationConfig(max_new_tokens=6, do_sample=False, eos_token_id=EOS, pad_token_id=EOS)
    written = model.generate(
        tokens, attention_mask=mask, generation_config=settings, prefix_allowed_tokens_fn=allowed
    )
    chosen = constrained_choice(model, packed).tolist()
    expected = [own[column].tolist() for own, column in zip(responses, chosen, strict=True)]
    assert rows(written[:, tokens.shape[1] :]) == expected


def test_greedy_is_not_the_most_probable_candidate() -> None:
    """By hand, next-token probabilities after any prompt: 4 .6, 5 .4; after 4: 6 .5, 7 .5; after 5: EOS 1.

    Greedy writes 4 first, since .6 > .4, and then one of (4 6) and (4 7), whose probability is .3 each; ranking by
    probability puts (5), .4, first.
    """
    model = bigram(
        {3: {4: 0.6, 5: 0.4}, 4: {6: 0.5001, 7: 0.4999}, 5: {EOS: 1.0}, 6: {EOS: 1.0}, 7: {EOS: 1.0}}
    )
    candidates = [[5, EOS], [4, 7, EOS], [4, 6, EOS]]
    packed = one_prompt([9, 3], candidates)
    assert constrained_choice(model, packed).tolist() == [2]
    assert response_log_probs(model, packed).argmax(dim=1).tolist() == [0]
    assert rows(greedy_tokens(model, packed, EOS, 8)) == [[4, 6, EOS]]


def test_a_candidate_that_begins_another_ends_or_goes_on_as_the_model_says() -> None:
    candidates = [[4, 5, EOS], [4, EOS]]
    for likely, column in ((EOS, 1), (5, 0)):
        other = {EOS: 5, 5: EOS}[likely]
        model = bigram({3: {4: 1.0}, 4: {likely: 0.6, other: 0.4}, 5: {EOS: 1.0}})
        assert constrained_choice(model, one_prompt([3], candidates)).tolist() == [column]


def test_constrained_generation_gives_a_candidate_whatever_the_model_prefers() -> None:
    """Free, the model writes 8 without end; no candidate has an 8."""
    model = bigram({token: {8: 1.0} for token in range(VOCABULARY)})
    packed = one_prompt([3], [[4, 5, EOS], [6, EOS]])
    assert rows(greedy_tokens(model, packed, EOS, 5)) == [[8] * 5]
    assert constrained_choice(model, packed).tolist() in ([0], [1])


def test_a_pretrained_models_own_generation_settings_play_no_part() -> None:
    model = bigram({3: {4: 1.0}, 4: {5: 0.6, EOS: 0.4}, 5: {4: 0.6, EOS: 0.4}})
    own = GenerationConfig(do_sample=True, temperature=9.0, repetition_penalty=5.0, eos_token_id=[5, EOS])
    model.generation_config = own
    assert greedy_tokens(model, one_prompt([3], [[4, EOS]]), EOS, 4).tolist() == [[4, 5, 4, 5]]
    assert model.generation_config is own


def one_prompt(prompt: list[int], candidates: list[list[int]]) -> PackedBatch:
    return pack([np.array(prompt, np.int32)], [[np.array(tokens, np.int32) for tokens in candidates]])


def bigram(probabilities: dict[int, dict[int, float]]) -> PreTrainedModel:
    """A Llama whose next token depends on the last one alone.

    Attention and feed-forward layer write 0, so that the last hidden state is the token's embedding, a unit vector,
    which the norm scales to √V; the projection's column holds the log-probabilities divided by √V.
    """
    size = VOCABULARY
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        rms_norm_eps=1e-12,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.fill_(-30.0)
        for last, following in probabilities.items():
            for token, probability in following.items():
                model.lm_head.weight[token, last] = np.log(probability) / size**0.5
    return model
