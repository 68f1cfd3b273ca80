"""From histories to recommendations: the library's function, and `train.py predict` on a file of histories."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from datamodules.catalogue import NamedItems
from datamodules.errors import InputError
from datamodules.history_batches import HistoryCollate
from datamodules.history_files import UserHistories
from datamodules.packing import pack
from datamodules.prompt_settings import PromptSettings
from datamodules.prompts import FILM_TEMPLATES
from lightning_modules import recommend
from lightning_modules.scoring import response_log_probs
from tests.conftest import tiny_titles
from tests.lightning_modules.architectures import save_tiny

TITLES = list(tiny_titles().values())
ONE_TEMPLATE = PromptSettings(templates=FILM_TEMPLATES[:1], max_history=4, max_length=2048)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = save_tiny("qwen2.5", tmp_path_factory.mktemp("qwen"))
    return AutoModelForCausalLM.from_pretrained(folder).double(), AutoTokenizer.from_pretrained(folder)


def test_the_prompt_is_the_training_prompt(make_data) -> None:
    """The same history and list of candidates give the same tokens, truncation included."""
    data = make_data(templates=list(FILM_TEMPLATES[:1]), max_history=4, max_length=130)
    train = data.store.splits["train"].with_format("numpy")
    examples = [train[row] for row in range(30)]
    whole = [example for example in examples if len(example["history"]) == 4]
    assert 0 < len(whole) < len(examples), "both truncations should happen"
    settings = PromptSettings(templates=FILM_TEMPLATES[:1], max_history=4, max_length=130)

    def prompts(rows: list[Any], before: list[int]) -> list[list[int]]:
        given = [("u", [*before, *row["history"]], list(row["candidates"])) for row in rows]
        collate = HistoryCollate(data.tokenizer, data.store.titles, UserHistories.of(given), settings)
        packed = collate(list(range(len(rows)))).packed
        return [
            tokens[segment == 0].tolist()
            for tokens, segment in zip(packed.input_ids, packed.segment_ids, strict=True)
        ]

    assert prompts(examples, []) == [example["prompt"].tolist() for example in examples]
    assert prompts(whole, [0, 1, 2]) == [example["prompt"].tolist() for example in whole]


def test_a_search_finds_what_scoring_every_title_finds(qwen) -> None:
    """Brute force: every title is a response behind the prompt, which lists no candidates."""
    model, tokenizer = qwen
    histories = [TITLES[:3], TITLES[10:12], TITLES[5:6]]
    found = recommend(
        model,
        tokenizer,
        histories,
        TITLES,
        prompts=ONE_TEMPLATE,
        num_recommendations=60,
        beam=60,
        batch_size=2,
    )
    items = NamedItems(TITLES)
    rows = [(str(n), [items.find(title) for title in own], []) for n, own in enumerate(histories)]
    collate = HistoryCollate(tokenizer, items.titles, UserHistories.of(rows), ONE_TEMPLATE)
    for row, own in enumerate(found):
        packed = collate([row]).packed
        prompt = packed.input_ids[0].numpy().astype(np.int32)
        with torch.no_grad():
            expected = response_log_probs(model, pack([prompt], [collate.answers]))[0]
        assert [title for title, _ in own] == [TITLES[item] for item in expected.argsort(descending=True)]
        scores = torch.tensor([score for _, score in own], dtype=torch.float64)
        torch.testing.assert_close(scores, expected.sort(descending=True).values, rtol=0, atol=1e-5)


def test_given_candidates_are_ranked_among_themselves(qwen) -> None:
    """Lists of different lengths in one batch; each user's ranking is what he gets alone."""
    model, tokenizer = qwen
    histories = [TITLES[:3], TITLES[10:12]]
    candidates = [TITLES[20:27], TITLES[30:33]]
    together = recommend(model, tokenizer, histories, TITLES, candidates, ONE_TEMPLATE)
    for user, own in enumerate(together):
        assert {title for title, _ in own} == set(candidates[user])
        assert [score for _, score in own] == sorted((score for _, score in own), reverse=True)
        alone = recommend(
            model,
            tokenizer,
            [histories[user]],
            TITLES,
            [candidates[user]],
            ONE_TEMPLATE,
            num_recommendations=2,
        )
        assert [title for title, _ in alone[0]] == [title for title, _ in own[:2]]


def test_recommending_leaves_the_model_in_its_mode(qwen) -> None:
    model, tokenizer = qwen
    for training in (True, False):
        model.train(training)
        recommend(
            model, tokenizer, [TITLES[:1]], TITLES[:5], prompts=ONE_TEMPLATE, num_recommendations=1, beam=1
        )
        assert model.training is training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"histories": [TITLES[:1], []]}, "user 1: the history is empty"),
        ({"histories": [["Nosferatu"]]}, "user 0: item 'Nosferatu' is not in the catalogue"),
        ({"candidates": [[TITLES[1], TITLES[1]]]}, "user 0: a candidate stands there twice"),
        ({"prompts": PromptSettings(max_length=20)}, "tokens without any history and max_length is 20"),
        ({"catalogue": []}, "the catalogue has no items"),
    ],
)
def test_what_cannot_be_is_one_line(qwen, changes: dict, message: str) -> None:
    arguments = {"histories": [TITLES[:1]], "catalogue": TITLES, "prompts": ONE_TEMPLATE, **changes}
    with pytest.raises(InputError, match=message) as caught:
        recommend(*qwen, **arguments)
    assert "\n" not in str(caught.value)


def test_a_context_shorter_than_a_prompt_is_refused(tmp_path: Path) -> None:
    folder = save_tiny("qwen2.5", tmp_path, max_position_embeddings=40)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with pytest.raises(InputError, match="the model's context holds 40"):
        recommend(model, tokenizer, [TITLES[:3]], TITLES, prompts=ONE_TEMPLATE)
