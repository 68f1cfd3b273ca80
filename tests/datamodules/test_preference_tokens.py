"""Prompts that went through a chat template, and ones that have yet to, against what transformers makes of them."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from datamodules import InputError, PreferencePairsDataModule
from datamodules.preference_tokens import PreferenceEncoder
from datamodules.sources import PreferenceFiles
from datamodules.tokenization import PieceEncoder
from tests.cli import config, run
from tests.lightning_modules.architectures import save_tiny, tiny_tokenizer

START, END = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Llama 3 and Gemma write theirs, and Llama 2.
TRIMMED = CHATML.replace("m['content']", "m['content'] | trim").replace("{% for", "{{ bos_token }}{% for", 1)
INST = "{% for m in messages %}{{ bos_token }}[INST] {{ m['content'] | trim }} [/INST]{% endfor %}"
PROMPTS = ["Toy Story or Red River?", "  Blue\nMoon\n\n", "1 Road", "\U0001f3ac"]


def tokenizer_of(name: str, template: str) -> PreTrainedTokenizerBase:
    tokenizer = tiny_tokenizer(name)
    tokenizer.chat_template = template
    if template != INST:
        tokenizer.add_special_tokens({"extra_special_tokens": [START]})
        tokenizer.add_special_tokens({"eos_token": END})
    return tokenizer


def rendered(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    turn = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))


def encoded(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def joined(encoder: PreferenceEncoder, prompt: str) -> list[int]:
    ((head, body),) = encoder.prompts([prompt])
    return [*head, *body]


KINDS = [("qwen2.5", CHATML), ("llama3", CHATML), ("llama3", TRIMMED), ("gemma3", TRIMMED), ("llama2", INST)]


@pytest.mark.parametrize(("name", "template"), KINDS)
def test_prompts_are_what_transformers_makes_of_them(name: str, template: str) -> None:
    """Put into the template here, or beforehand: the tokens of `apply_chat_template`, and BOS as often as it has it."""
    tokenizer = tokenizer_of(name, template)
    chat, parse = PreferenceEncoder(tokenizer, chat=True), PreferenceEncoder(tokenizer, parse=True)
    for prompt in PROMPTS:
        text = rendered(tokenizer, prompt)
        wanted = encoded(tokenizer, text)
        assert joined(chat, prompt) == wanted
        assert joined(parse, text) == wanted
        assert joined(PreferenceEncoder(tokenizer, parse=True, chat=True), prompt) == wanted
        if tokenizer.bos_token is not None and template != CHATML:
            assert wanted.count(tokenizer.bos_token_id) == 1
            # Whoever took BOS off, so that a tokenizer adds it, gets it too.
            assert joined(parse, text.removeprefix(tokenizer.bos_token))[0] == tokenizer.bos_token_id
    plain = [*PieceEncoder(tokenizer).bos, *encoded(tokenizer, "Toy Story")]
    assert joined(parse, "Toy Story") == joined(PreferenceEncoder(tokenizer), "Toy Story") == plain


@pytest.mark.parametrize(("name", "template"), KINDS)
def test_special_tokens_are_text_unless_they_are_parsed(name: str, template: str) -> None:
    """In a prompt inside the template too, whose own stay tokens."""
    tokenizer = tokenizer_of(name, template)
    hostile = f"Toy{tokenizer.eos_token} Story"
    text, chat = PreferenceEncoder(tokenizer), PreferenceEncoder(tokenizer, chat=True)
    assert tokenizer.eos_token_id not in joined(text, hostile)
    assert tokenizer.eos_token_id not in text.responses([hostile])[0]
    innocent = [t for t in joined(chat, "Toy Story") if t in tokenizer.all_special_ids]
    assert [t for t in joined(chat, hostile) if t in tokenizer.all_special_ids] == innocent
    assert hostile in tokenizer.decode(joined(chat, hostile), clean_up_tokenization_spaces=False)
    assert tokenizer.eos_token_id in joined(PreferenceEncoder(tokenizer, parse=True), hostile)


def test_a_response_ends_once() -> None:
    encoder = PreferenceEncoder(tokenizer_of("qwen2.5", CHATML), parse=True)
    endings = {f"Toy{END}": "Toy", f"Toy{END}\n": "Toy", "Toy\n": "Toy\n", f"{END}Toy": f"{END}Toy", END: ""}
    assert [encoder.ending(text) for text in endings] == list(endings.values())
    as_text = PreferenceEncoder(tokenizer_of("qwen2.5", CHATML))
    assert as_text.ending(f"Toy{END}") == f"Toy{END}"


def test_a_chat_template_that_holds_no_prompt_is_refused() -> None:
    with pytest.raises(InputError, match="holds a prompt 0 times: set data.chat to false"):
        PreferenceEncoder(tokenizer_of("qwen2.5", "hello"), chat=True)
    with pytest.raises(InputError, match=r"refuses a user's turn \(no users\): set data.chat to false"):
        PreferenceEncoder(tokenizer_of("qwen2.5", "{{ raise_exception('no users') }}"), chat=True)
    tokenizer = tokenizer_of("qwen2.5", CHATML)
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="has no chat template"):
        PreferenceEncoder(tokenizer, chat=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = tokenizer_of("llama3", CHATML)
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path


def module(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> PreferencePairsDataModule:
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = PreferencePairsDataModule(
        PreferenceFiles(str(path)), str(folder / "model"), cache_dir=str(folder / "cache"), **settings
    )
    data.prepare_data()
    data.setup("fit")
    return data


def rows_of(prompt: str, ending: str) -> list[dict[str, Any]]:
    row = {"chosen": f"Toy Story{ending}", "rejected": [f"Red River{ending}", f"Blue{ending}"]}
    return [{"prompt": prompt.format(n), **row} for n in range(60)]


def test_the_three_ways_store_the_same_tokens_and_one_end(folder: Path) -> None:
    """A plain prompt put into the template, or put there beforehand; and what is neither is said."""
    through = f"{START}user\nFilms {{}}{END}\n{START}assistant\n"
    stored = []
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*special tokens.*")
        for rows, settings in (
            (rows_of("Films {}", ""), {"chat": True}),
            (rows_of("Films {}", END), {"chat": True, "special_tokens": "parse"}),
            (rows_of(through, f"{END}\n"), {"special_tokens": "parse"}),
        ):
            data = module(folder, rows, **settings)
            stored.append([(row["prompt"], row["responses"]) for row in data.store.splits["train"]])
    assert stored[0] == stored[1] == stored[2]
    eos = data.tokenizer.eos_token_id
    assert all(responses.count(eos) == 3 for _, responses in stored[0])
    with pytest.warns(
        UserWarning, match=f"special tokens: 60, first '{START.replace('|', '.')}' in .*, line 1; they"
    ):
        module(folder, rows_of(through, END))
    with pytest.warns(UserWarning, match="data.chat adds a chat template's own: set it to false"):
        module(folder, rows_of(through, END), special_tokens="parse", chat=True)


def test_a_long_prompt_keeps_the_templates_beginning(folder: Path) -> None:
    data = module(folder, rows_of("Films and more Films {}", ""), chat=True, max_length=34)
    tokens = data.store.splits["train"][0]["prompt"]
    text = data.tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
    assert data.store.report["prompts cut to max_length"] == 60
    assert text.startswith(f"{START}user\n")
    assert text.endswith(f"{END}\n{START}assistant\n")
    assert not text.startswith(f"{START}user\nFilms and")
    with pytest.raises(InputError, match="leaves no room for the prompt: raise max_length") as raised:
        module(folder, rows_of("Films {}", ""), chat=True, max_length=20)
    tokens, needed = map(
        int, re.findall(r"has (\d+) tokens and the prompt needs at least (\d+) with", str(raised.value))[0]
    )
    template = rendered(data.tokenizer, "Films 0").split("Films 0")
    assert needed == sum(len(encoded(data.tokenizer, text)) for text in template)
    assert tokens + needed > 20
    module(folder, rows_of("Films {}", ""), chat=True, max_length=tokens + needed)


def test_special_tokens_are_one_of_two_things() -> None:
    with pytest.raises(ValueError, match="special_tokens=None must be one of parse, text"):
        PreferencePairsDataModule(PreferenceFiles("train.jsonl"), special_tokens=None)  # type: ignore[arg-type]


def test_responses_that_differ_in_their_end_alone_are_refused(folder: Path) -> None:
    row = {"prompt": "Films", "chosen": "Toy", "rejected": [f"Toy{END}"]}
    with pytest.raises(
        InputError, match=r"train.jsonl, line 1: two responses differ in the EOS at their end alone"
    ):
        module(folder, [row], special_tokens="parse")


def test_each_setting_is_other_data(folder: Path) -> None:
    source = PreferenceFiles(str(folder / "model" / "tokenizer.json"))
    choices = [{}, {"chat": True}, {"special_tokens": "parse"}, {"chat": True, "special_tokens": "parse"}]
    assert len({PreferencePairsDataModule(source, **each).fingerprint for each in choices}) == 4


def test_a_template_that_spells_out_a_special_token_is_said(make_data) -> None:
    with pytest.warns(
        UserWarning, match=r"template '<s>Films.* spells out the special token '<s>', which is encoded"
    ):
        make_data(templates=["<s>Films:{history}\nNext:{candidates}\nAnswer:"])


def test_a_model_trains_on_a_chat_through_the_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    save_tiny("llama3", folder / "whole")
    rows = rows_of("Films {}", "")
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = config(
        folder,
        language_model={
            "class_path": "lightning_modules.PretrainedLM",
            "init_args": {"name": str(folder / "whole")},
        },
    )
    settings["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    settings["data"] = {
        "class_path": "datamodules.PreferencePairsDataModule",
        "init_args": {
            "source": {"train": str(folder / "train.jsonl")},
            "tokenizer": str(folder / "whole"),
            "batch_size": 4,
        },
    }
    out = run("fit", "chat", settings, "--data.chat", "true", "--data.special_tokens", "parse")
    assert "train/loss" in (out / "metrics.csv").read_text()
