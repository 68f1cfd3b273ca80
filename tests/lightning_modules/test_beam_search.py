"""Beam search against scoring every title, and against a plain beam search that reads every beginning anew."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from datamodules.packing import pack
from datamodules.title_trie import TitleTrie
from lightning_modules.beam_search import beam_search
from lightning_modules.generation import left_padded_prompts
from lightning_modules.scoring import response_log_probs
from tests.lightning_modules.architectures import each_architecture, tiny_model, tiny_tokenizer
from tests.lightning_modules.test_generation import EOS, bigram, llama, one_prompt

LOW, HIGH = 10, 16  # few tokens, so that titles share their beginnings


def prompts_and_titles(seed: int, eos: int, titles: int = 40) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Prompts of 3 to 12 tokens; titles of 1 to 5 tokens, some of which begin others."""
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(LOW, HIGH, size=length).astype(np.int32) for length in (12, 3, 7)]
    distinct: set[tuple[int, ...]] = set()
    while len(distinct) < titles:
        distinct.add(tuple(rng.integers(LOW, HIGH, size=rng.integers(1, 6)).tolist()))
    answers = [np.array([*title, eos], dtype=np.int32) for title in distinct]
    order = rng.permutation(titles)
    return prompts, [answers[index] for index in order]


def trie_of(answers: list[np.ndarray]) -> TitleTrie:
    return TitleTrie.of(answers, [str(answer) for answer in answers])


def searched(model: PreTrainedModel, prompts, answers, beam: int) -> tuple[list[list[int]], torch.Tensor]:
    tokens, mask = left_padded_prompts(pack(prompts, [[] for _ in prompts]))
    items, scores = beam_search(model, tokens, mask, trie_of(answers), beam)
    return items.tolist(), scores


def plain_beams(
    model: PreTrainedModel, prompt: np.ndarray, answers: list[np.ndarray], beam: int
) -> list[int]:
    """Keeps the best beginnings, each read by one unpadded forward without a cache."""
    titles = [tuple(answer.tolist()) for answer in answers]
    beginnings = {(): 0.0}
    while any(beginning not in titles for beginning in beginnings):
        longer = {}
        for beginning, score in beginnings.items():
            if beginning in titles:
                longer[beginning] = score
                continue
            ids = torch.tensor([[*prompt.tolist(), *beginning]])
            log_probs = model(input_ids=ids).logits[0, -1].log_softmax(-1)
            for title in titles:
                if title[: len(beginning)] == beginning:
                    token = title[len(beginning)]
                    longer[(*beginning, token)] = score + log_probs[token].item()
        best = sorted(longer, key=lambda beginning: -longer[beginning])[:beam]
        beginnings = {beginning: longer[beginning] for beginning in best}
    return [titles.index(beginning) for beginning in sorted(beginnings, key=lambda each: -beginnings[each])]


@each_architecture
def test_a_beam_as_wide_as_the_catalogue_ranks_it_as_scoring_every_title_does(architecture: str) -> None:
    tokenizer = tiny_tokenizer(architecture)
    model = tiny_model(architecture, tokenizer).eval()
    prompts, answers = prompts_and_titles(0, tokenizer.eos_token_id)
    with torch.no_grad():
        expected = response_log_probs(model, pack(prompts, [answers for _ in prompts]))
    for beam in (40, 100):
        items, scores = searched(model, prompts, answers, beam)
        assert items == expected.argsort(dim=1, descending=True).tolist()
        torch.testing.assert_close(scores, expected.sort(dim=1, descending=True).values, rtol=0, atol=1e-5)


@pytest.mark.parametrize("beam", [1, 3, 12])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_narrow_beam_keeps_what_a_plain_beam_search_keeps(seed: int, beam: int) -> None:
    model = llama(seed)
    prompts, answers = prompts_and_titles(seed, EOS)
    items, _ = searched(model, prompts, answers, beam)
    assert items == [plain_beams(model, prompt, answers, beam) for prompt in prompts]


def test_a_batch_is_one_by_one() -> None:
    model = llama(5)
    prompts, answers = prompts_and_titles(5, EOS)
    items, scores = searched(model, prompts, answers, 6)
    for row, prompt in enumerate(prompts):
        alone, alone_scores = searched(model, [prompt], answers, 6)
        assert alone == [items[row]]
        torch.testing.assert_close(alone_scores[0], scores[row], rtol=0, atol=1e-9)


def test_the_prompt_is_read_once_and_never_copied() -> None:
    """Tokens read: the prompt's, then at most the beam's at every step; rows in the cache: one a prompt."""
    model = llama(0)
    prompts, answers = prompts_and_titles(0, EOS)
    shapes = []
    model.model.embed_tokens.register_forward_pre_hook(
        lambda _, inputs: shapes.append(tuple(inputs[0].shape))
    )
    searched(model, prompts, answers, 4)
    assert shapes[0] == (3, 12)
    assert len(shapes) <= 1 + 5
    assert all(rows == 3 and width <= 4 for rows, width in shapes[1:])


def test_a_title_that_begins_another_wins_or_loses_by_its_probability() -> None:
    """By hand: after 3 always 4; then EOS .6, or 5 .4 and EOS. So (4) has log .6 and (4 5) log .4."""
    model = bigram({3: {4: 1.0}, 4: {EOS: 0.6, 5: 0.4}, 5: {EOS: 1.0}})
    packed = one_prompt([9, 3], [])
    trie = trie_of([np.array([4, 5, EOS], np.int32), np.array([4, EOS], np.int32)])
    items, scores = beam_search(model, *left_padded_prompts(packed), trie, 2)
    assert items.tolist() == [[1, 0]]
    torch.testing.assert_close(
        scores.exp(), torch.tensor([[0.6, 0.4]], dtype=scores.dtype), rtol=0, atol=1e-6
    )


def test_equal_titles_stand_in_the_order_of_the_catalogue() -> None:
    """By hand: four titles of probability 1/4 each."""
    model = bigram({3: dict.fromkeys((4, 5, 6, 7), 0.25), **{token: {EOS: 1.0} for token in (4, 5, 6, 7)}})
    trie = trie_of([np.array([token, EOS], np.int32) for token in (6, 4, 7, 5)])
    items, scores = beam_search(model, *left_padded_prompts(one_prompt([3], [])), trie, 4)
    assert items.tolist() == [[0, 1, 2, 3]]
    assert len(scores.unique()) == 1
