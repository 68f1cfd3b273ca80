"""TRL's and LLaMA-Factory's rows say the same as ours, and conversations are what transformers makes of them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules import InputError, PreferencePairsDataModule
from datamodules.preference_tokens import PreferenceEncoder
from datamodules.sources import PreferenceFiles
from datamodules.sources.preference_rows import parse_preference
from tests.datamodules.test_preference_tokens import CHATML, KINDS, encoded, joined, tokenizer_of

USER = {"role": "user", "content": "Which film?"}
SYSTEM = {"role": "system", "content": "Be brief."}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


ASKED = (("user", "Which film?"),)
LONGER = (("system", "Be brief."), *ASKED, ("assistant", "Heat"), ("user", "Another?"))
HUMAN = {"from": "human", "value": "Which film?"}


@pytest.mark.parametrize(
    ("row", "prompt", "responses"),
    [
        ({"prompt": "p", "chosen": "a", "rejected": ["b", "c"]}, "p", ("a", "b", "c")),
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, "p", ("a", "b")),
        # The two examples of TRL's documentation, with the prompt and without it.
        (
            {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
            "The sky is",
            (" blue.", " green."),
        ),
        (
            {"chosen": "The sky is blue.", "rejected": "The sky is green."},
            "The sky is",
            (" blue.", " green."),
        ),
        (
            {"chosen": "The sky is blue.", "rejected": ["The sky is green.", "The sky was red."]},
            "The sky",
            (" is blue.", " is green.", " was red."),
        ),
        ({"prompt": [USER], "chosen": [says("Heat")], "rejected": [says("Jaws")]}, ASKED, ("Heat", "Jaws")),
        ({"chosen": [USER, says("Heat")], "rejected": [USER, says("Jaws")]}, ASKED, ("Heat", "Jaws")),
        # UltraFeedback: the question stands in all three.
        (
            {"prompt": "Which film?", "chosen": [USER, says("Heat")], "rejected": [USER, says("Jaws")]},
            ASKED,
            ("Heat", "Jaws"),
        ),
        (
            {"prompt": [USER], "chosen": [USER, says("Heat")], "rejected": [USER, says("Jaws")]},
            ASKED,
            ("Heat", "Jaws"),
        ),
        (
            {"prompt": "Which film?", "chosen": [says("Heat")], "rejected": [[says("Jaws")], [says("It")]]},
            ASKED,
            ("Heat", "Jaws", "It"),
        ),
        ({"prompt": [USER], "chosen": "Heat", "rejected": ["Jaws", "It"]}, ASKED, ("Heat", "Jaws", "It")),
        # LLaMA-Factory's ShareGPT and Alpaca forms.
        (
            {
                "conversations": [HUMAN],
                "chosen": {"from": "gpt", "value": "Heat"},
                "rejected": {"from": "gpt", "value": "Jaws"},
            },
            ASKED,
            ("Heat", "Jaws"),
        ),
        (
            {
                "system": "Be brief.",
                "conversations": [
                    HUMAN,
                    {"from": "gpt", "value": "Heat"},
                    {"from": "human", "value": "Another?"},
                ],
                "chosen": {"from": "gpt", "value": "It"},
                "rejected": [{"from": "gpt", "value": "Jaws"}, {"from": "gpt", "value": "Up"}],
            },
            LONGER,
            ("It", "Jaws", "Up"),
        ),
        (
            {"instruction": "Answer.", "input": "Which?", "chosen": "a", "rejected": "b"},
            "Answer.\nWhich?",
            ("a", "b"),
        ),
        ({"instruction": "Answer.", "input": "", "chosen": "a", "rejected": "b"}, "Answer.", ("a", "b")),
        (
            {
                "instruction": "Another?",
                "system": "Be brief.",
                "history": [["Which film?", "Heat"]],
                "chosen": "a",
                "rejected": "b",
            },
            LONGER,
            ("a", "b"),
        ),
    ],
)
def test_a_row_of_any_kind(row: dict[str, Any], prompt: Any, responses: tuple[str, ...]) -> None:
    assert parse_preference(row) == (prompt, responses)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": "a", "rejected": "b"}, "there is no prompt, and chosen and rejected do not begin alike"),
        ({"chosen": "ab", "rejected": "abc"}, "a response is empty"),
        ({"prompt": "p", "chosen": [says("a")], "rejected": ["b"]}, "is text and another one is messages"),
        ({"chosen": [says("a")], "rejected": [says("b")]}, "does not end with a message of the user"),
        (
            {"prompt": [USER, says("x")], "chosen": "a", "rejected": "b"},
            "does not end with a message of the user",
        ),
        ({"prompt": [USER, SYSTEM, USER], "chosen": "a", "rejected": "b"}, "system that is not its first"),
        (
            {"prompt": [{"role": "tool", "content": "x"}], "chosen": "a", "rejected": "b"},
            "a message of 'tool', who is",
        ),
        (
            {"prompt": [{"role": "user"}], "chosen": "a", "rejected": "b"},
            "whose content, 'None', is not text",
        ),
        (
            {"chosen": [USER, says("a"), USER, says("c")], "rejected": [USER, says("b")]},
            "must each be one message of the assistant",
        ),
        (
            {"prompt": "Other?", "chosen": [USER, says("a")], "rejected": [USER, says("b")]},
            "prompt is not the question that chosen and rejected answer",
        ),
        ({"prompt": [USER], "chosen": [says("a")], "rejected": [says("a")]}, "a response stands there twice"),
        ({"instruction": 3, "chosen": "a", "rejected": "b"}, "instruction or input is not text"),
        ({"prompt": "p", "chosen": "a", "rejected": ["b", None]}, "rejected holds something else than text"),
    ],
)
def test_what_cannot_be_read_is_said(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_preference(row)


def rendered(tokenizer: Any, prompt: Any) -> str:
    messages = [{"role": role, "content": content} for role, content in prompt]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


@pytest.mark.parametrize(("name", "template"), KINDS[:-1])
def test_a_conversation_is_what_transformers_makes_of_it(name: str, template: str) -> None:
    """One question is the same as its text; special tokens spelt out in any message stay text."""
    tokenizer = tokenizer_of(name, template)
    encoder = PreferenceEncoder(tokenizer, chat=True)
    for prompt in (ASKED, LONGER):
        assert joined(encoder, prompt) == encoded(tokenizer, rendered(tokenizer, prompt))
    assert joined(encoder, ASKED) == joined(encoder, ASKED[0][1])
    hostile = tuple((role, f"Toy{tokenizer.eos_token} {text}") for role, text in LONGER)
    tokens = joined(encoder, hostile)
    plain = joined(encoder, tuple((role, f"Toy {text}") for role, text in LONGER))
    special = set(tokenizer.all_special_ids)
    assert [token for token in tokens if token in special] == [token for token in plain if token in special]
    decoded = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
    assert all(text in decoded for _, text in hostile)
    assert encoder.misplaced(LONGER, ()) is None
    assert encoder.misplaced(hostile, ()) == tokenizer.eos_token


def test_a_template_that_refuses_or_drops_messages_is_named() -> None:
    no_system = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
    )
    encoder = PreferenceEncoder(tokenizer_of("qwen2.5", no_system), chat=True)
    with pytest.raises(InputError, match=r"refuses turns of system, user, assistant, user \(no system\)"):
        encoder.prompts([LONGER])
    last = CHATML.replace("for m in messages", "for m in messages[-1:]")
    encoder = PreferenceEncoder(tokenizer_of("qwen2.5", last), chat=True)
    with pytest.raises(InputError, match="leaves messages of system, user, assistant, user out"):
        encoder.prompts([tuple((role, f"<|im_end|>{text}") for role, text in LONGER)])


def build(
    folder: Path, rows: list[Any], name: str = "train.jsonl", **settings: Any
) -> PreferencePairsDataModule:
    path = folder / name
    skip = settings.pop("skip", False)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = PreferencePairsDataModule(
        PreferenceFiles(str(path), skip_broken_rows=skip), cache_dir=str(folder / "cache"), **settings
    )
    data.prepare_data()
    data.setup("fit")
    return data


def stored(data: PreferencePairsDataModule) -> list[Any]:
    return [(row["prompt"], row["responses"]) for row in data.store.splits["train"]]


def test_files_of_all_kinds_store_the_same_tokens(tmp_path: Path) -> None:
    tokenizer_of("llama3", CHATML).save_pretrained(tmp_path / "model")
    settings = {"tokenizer": str(tmp_path / "model"), "chat": True}
    texts = [{"prompt": f"Which {n}?", "chosen": "Heat", "rejected": ["Jaws"]} for n in range(60)]
    asked = [[{"role": "user", "content": row["prompt"]}] for row in texts]
    answers = {"chosen": [says("Heat")], "rejected": [says("Jaws")]}
    ours = stored(build(tmp_path, texts, **settings))
    assert (
        stored(build(tmp_path, [{"prompt": a, **answers} for a in asked], "trl.parquet", **settings)) == ours
    )
    implicit = [{key: [*a, *answers[key]] for key in answers} for a in asked]
    assert stored(build(tmp_path, implicit, "implicit.jsonl", **settings)) == ours
    with pytest.raises(
        InputError, match=r"implicit.jsonl, line 1: the prompt is a conversation: set data.chat to true"
    ):
        build(tmp_path, implicit, "implicit.jsonl", skip=True)


def test_rows_that_are_too_long_are_skipped_and_users_keep_their_numbers(tmp_path: Path) -> None:
    """Lines 3 and 20 have no prompt or too long an answer; the users of all others are the numbers of their rows."""
    rows: list[Any] = [{"prompt": f"What is {n}?", "chosen": "one", "rejected": "two"} for n in range(60)]
    rows[2] = {"chosen": "a", "rejected": "b"}
    rows[19] = {"prompt": "Long?", "chosen": "no " * 60, "rejected": "two"}
    with pytest.raises(
        InputError, match="train.jsonl, line 20: the longest response has .* skip_broken_rows: true"
    ):
        build(tmp_path, [*rows[:2], rows[3], *rows[3:]], max_length=40)
    data = build(tmp_path, rows, max_length=40, skip=True)
    assert data.store.report["broken rows of train.jsonl, skipped"] == 1
    assert data.store.report["rows whose responses leave no room for the prompt, skipped"] == 1
    kept = [row for split in ("train", "val") for row in data.store.splits[split]]
    assert sorted(row["id"] for row in kept) == [n for n in range(60) if n not in (2, 19)]
    assert all(data.store.users[row["user"]] == str(row["id"]) for row in kept)
    titles = data.store.titles
    assert all(titles[row["first_item"]] == "one" for row in kept)
    assert all(len(row["prompt"]) + max(row["lengths"]) <= 40 for row in kept)
