"""Prompts in pieces under tokenizers with and without BOS, with and without padding, in and out of a chat."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import InputError, RecommendationDataModule
from datamodules.interactions import fold_title
from datamodules.prompts import FILM_TEMPLATES, Template
from datamodules.tokenization import PieceEncoder
from tests.lightning_modules.architectures import ARCHITECTURES, save_tiny, tiny_tokenizer

KINDS = ["llama2", "llama3", "qwen2.5", "gemma3"]
TOKENIZERS = {name: tiny_tokenizer(name) for name in KINDS}


def text_of(name: str, tokens: list[int]) -> str:
    """Decodes behind a letter: SentencePiece takes a space from a text's beginning."""
    letter = TOKENIZERS[name].encode("a", add_special_tokens=False)
    return TOKENIZERS[name].decode([*letter, *tokens], clean_up_tokenization_spaces=False).removeprefix("a")


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=60)
@given(
    title=st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(["</s>", "<|endoftext|>", "<eos>", "  Toy", "Toy  Story ", "▁"])
)
def test_any_title_survives_and_holds_no_special_token(name: str, title: str) -> None:
    title = fold_title(title)
    tokens = PieceEncoder(TOKENIZERS[name]).titles([title])[0]
    normalizer = TOKENIZERS[name].backend_tokenizer.normalizer
    expected = f" {title}" if normalizer is None else normalizer.normalize_str(f" {title}")
    assert text_of(name, tokens).replace("▁", " ") == expected.replace("▁", " ")
    assert not set(TOKENIZERS[name].all_special_ids) & set(tokens)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("chat", [False, True])
def test_stored_prompts_read_as_a_person_would_write_them(name: str, chat: bool, make_data, tmp_path) -> None:
    """Tokens → text gives the rendered prompt, in the chat template if asked, and BOS once where there is one."""
    folder = save_tiny(name, tmp_path / name)
    data: RecommendationDataModule = make_data(
        tokenizer=str(folder), chat=chat, max_length=2048, num_candidates=4, max_val_examples=6
    )
    tokenizer, titles = data.tokenizer, data.store.titles
    bos = tokenizer.bos_token or ""
    for row in data.store.splits["val"]:
        history, candidates = ([titles[item] for item in row[key]] for key in ("history", "candidates"))
        text = Template.parse(FILM_TEMPLATES[row["template"]]).render(history, candidates)
        if chat:
            text = f"[user] {text}\n[assistant]"
        elif name == "llama2":
            text = f" {text}"  # as Llama 2 begins every text
        found = tokenizer.decode(row["prompt"], clean_up_tokenization_spaces=False)
        assert found == bos + text
        assert row["prompt"].count(tokenizer.bos_token_id) == (1 if bos else 0)


@pytest.mark.parametrize("name", KINDS)
def test_a_piece_is_tokenised_as_it_would_be_inside_the_text(name: str) -> None:
    """Here pieces meet at line breaks, where no tokenizer merges, so the whole text has the pieces' tokens."""
    encoder = PieceEncoder(TOKENIZERS[name])
    template = Template.parse("Films:{history}\nNext:{candidates}\nAnswer:")
    first, second, third = encoder.template(template)
    line = encoder.separator + encoder.titles(["Toy Story"])[0]
    whole = TOKENIZERS[name].encode(
        "Films:\n Toy Story\nNext:\n Toy Story\nAnswer: Toy Story", add_special_tokens=False
    )
    assert [*first, *line, *second, *line, *third, *encoder.titles(["Toy Story"])[0]] == encoder.bos + whole


def test_a_chat_without_a_template_is_refused(make_data) -> None:
    with pytest.raises(InputError, match="has no chat template: set data.chat to false"):
        make_data(chat=True)


def test_the_kinds_differ_in_what_they_have() -> None:
    assert {
        (tokenizer.bos_token is not None, tokenizer.pad_token is not None)
        for tokenizer in (tiny_tokenizer(name) for name in ARCHITECTURES)
    } == {(True, False), (False, True), (True, True)}
