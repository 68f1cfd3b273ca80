import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from datamodules import InputError, RecommendationDataModule, tokenization
from datamodules.interactions import fold_title
from datamodules.prompts import FILM_TEMPLATES, Template
from datamodules.sources import RecBoleSource
from datamodules.tokenization import (
    PieceEncoder,
    distinct,
    learn_tokenizer,
    load_tokenizer,
    save_tokenizer,
    tokenizer_fingerprint,
)

TITLES = ["Toy Story", "Usual Suspects, The", "Contempt (Mépris, Le)"]

hostile = st.text(max_size=40) | st.sampled_from(
    ["</s>", "<s>", "{history}", "a::b", "x, y", "[x]", "🎬", "\u202eabc"]
)


TEXTS = [f" {title}" for title in TITLES] + list(FILM_TEMPLATES)


@pytest.fixture(scope="module", params=[False, True], ids=["words", "titles"])
def tokenizer(request):
    return learn_tokenizer(TEXTS, request.param)


def test_a_known_title_is_one_token_and_an_unknown_one_is_not_lost() -> None:
    encoder = PieceEncoder(tokenizer := learn_tokenizer(TEXTS, whole=True))
    assert [len(tokens) for tokens in encoder.titles([*TITLES, "Toy Zebra"])] == [1, 1, 1, len(" Toy Zebra")]
    assert [len(tokens) for tokens in encoder.segments(FILM_TEMPLATES)] == [1] * len(FILM_TEMPLATES)
    assert tokenizer.decode(encoder.titles(["Toy Zebra"])[0]) == " Toy Zebra"


def test_a_known_word_is_one_token_and_an_unknown_one_is_not_lost() -> None:
    encoder = PieceEncoder(tokenizer := learn_tokenizer(TEXTS))
    assert len(encoder.titles(["Toy Story"])[0]) == 2
    assert len(encoder.titles(["Toy Zebra"])[0]) == 1 + len(" Zebra")
    assert tokenizer.decode(encoder.titles(["Toy Zebra"])[0]) == " Toy Zebra"


@settings(deadline=None, max_examples=200)
@given(title=hostile)
def test_any_title_survives_and_holds_no_special_token(tokenizer, title: str) -> None:
    title = fold_title(title)
    tokens = PieceEncoder(tokenizer).titles([title])[0]
    text = f" {title}".encode("utf-8", errors="replace").decode()
    assert tokenizer.decode(tokens, clean_up_tokenization_spaces=False) == text
    assert not {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id} & set(tokens)
    assert "\n" not in title


def test_a_response_is_its_title_and_eos(tokenizer) -> None:
    encoder = PieceEncoder(tokenizer)
    for title, response in zip(TITLES, encoder.responses(TITLES), strict=True):
        assert response.tolist() == [*encoder.titles([title])[0], tokenizer.eos_token_id]


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(hostile, max_size=6))
def test_pieces_are_what_transformers_makes_of_them(tokenizer, texts: list[str]) -> None:
    """The library's own tokenizer is asked directly; a text that repeats is encoded once."""
    texts = [*texts, *texts]
    tokens, index = distinct(PieceEncoder(tokenizer).segments, texts)
    wanted = (
        tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"] if texts else []
    )
    assert [tokens[piece] for piece in index] == wanted
    assert len(tokens) == len(set(texts))


def test_settings_saved_with_a_tokenizer_cut_no_piece(tokenizer, tmp_path) -> None:
    core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    core.enable_truncation(1)
    core.enable_padding(length=9)
    cutting = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    assert PieceEncoder(cutting).titles(TITLES) == PieceEncoder(tokenizer).titles(TITLES)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(InputError, match="ByT5Tokenizer is no fast tokenizer: convert it"):
        PieceEncoder(ByT5Tokenizer())


def test_texts_are_counted_whole_however_many_are_counted_together(monkeypatch) -> None:
    """The order of the vocabulary tells the counts: b four times, a three times, c twice."""
    texts = ["a", "b", "c", "b", "a", "b", "c", "a", "b"]
    for together in (1, 2, 100):
        monkeypatch.setattr(tokenization, "_TEXTS_COUNTED_TOGETHER", together)
        words = learn_tokenizer(f"{text}{text}" for text in texts).get_vocab()
        assert sorted(("aa", "bb", "cc"), key=words.__getitem__) == ["bb", "aa", "cc"]


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path) -> None:
    save_tokenizer(tokenizer, tmp_path)
    again = load_tokenizer(str(tmp_path))
    assert tokenizer_fingerprint(again) == tokenizer_fingerprint(tokenizer)
    texts = ["Toy Story", "</s>", "Ünïcode 🎬"]
    assert PieceEncoder(again).titles(texts) == PieceEncoder(tokenizer).titles(texts)
    other = learn_tokenizer(["something else"])
    assert tokenizer_fingerprint(other) != tokenizer_fingerprint(tokenizer)


def test_no_tokenizer_is_one_clear_line(tmp_path) -> None:
    with pytest.raises(InputError, match="no tokenizer at .*: give a hub name or a local folder"):
        load_tokenizer(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    "text", ["no placeholder", "{candidates} {history}", "{history} {history} {candidates}"]
)
def test_templates_are_checked(text: str) -> None:
    with pytest.raises(InputError, match="once"):
        Template.parse(text)


@pytest.mark.parametrize(
    ("stray", "hint"),
    [
        ("{histroy}", "did you mean {history}?"),
        ("{History}", "did you mean {history}?"),
        ("{ candidates }", "did you mean {candidates}?"),
        ("{candidate:>9}", "did you mean {candidates}?"),
        ("{titel}", "there are {history} and {candidates}"),
        ("{}", "there are {history} and {candidates}"),
        ("{0}", "there are {history} and {candidates}"),
        ("{", "unbalanced brace"),
        ("history}", "unbalanced brace"),
        ("{{history}", "unbalanced brace"),
    ],
)
def test_what_looks_like_a_placeholder_is_refused_with_the_nearest(
    stray: str, hint: str, tiny_folder
) -> None:
    """Wherever it stands, beside the two that are there, before anything is read."""
    for text in (f"{stray} {{history}} {{candidates}}", f"{{history}}{{candidates}}{stray}"):
        with pytest.raises(InputError, match=re.escape(hint)):
            Template.parse(text)
    with pytest.raises(InputError, match=re.escape(hint)):
        RecommendationDataModule(RecBoleSource(str(tiny_folder / "absent")), templates=[text])


def test_json_in_a_template_is_text() -> None:
    text = 'Films:{history}\nFrom:{candidates}\nAnswer as {"title": "..."}:'
    assert Template.parse(text).after_candidates == '\nAnswer as {"title": "..."}:'


def test_stored_prompts_read_as_their_templates(make_data) -> None:
    """Tokens → text gives exactly the rendered prompt, hostile titles included; every stage reads these tokens."""
    data: RecommendationDataModule = make_data()
    titles = data.store.titles
    templates = [Template.parse(text) for text in FILM_TEMPLATES]
    used = set()
    for row in data.store.splits["val"]:
        history, candidates = ([titles[item] for item in row[name]] for name in ("history", "candidates"))
        text = templates[row["template"]].render(history, candidates)
        assert data.tokenizer.decode(row["prompt"], clean_up_tokenization_spaces=False) == f"<s>{text}"
        begin, end = row["history_span"]
        span = data.tokenizer.decode(row["prompt"][begin:end], clean_up_tokenization_spaces=False)
        assert span == "".join(f"\n {title}" for title in history)
        used.add(row["template"])
    assert used == set(range(len(templates)))


def test_truncation_drops_the_oldest_items_only(make_data) -> None:
    whole, short = make_data(max_length=512), make_data(max_length=100)
    dropped = 0
    for long_row, row in zip(whole.store.splits["val"], short.store.splits["val"], strict=True):
        kept = len(row["history"])
        assert row["history"] == long_row["history"][len(long_row["history"]) - kept :]
        assert row["candidates"] == long_row["candidates"]
        longest = max(len(short._responses[item]) for item in row["candidates"])
        assert len(row["prompt"]) + longest <= 100
        dropped += len(long_row["history"]) - kept
        if kept < len(long_row["history"]):
            next_line = len(short._responses[long_row["history"][-kept - 1]])
            assert len(row["prompt"]) + longest + next_line > 100, (
                "an item was dropped that would have fitted"
            )
    assert dropped > 0


def test_a_prompt_that_cannot_fit_names_its_example(make_data) -> None:
    with pytest.raises(
        InputError, match=r"user u\d+: a prompt needs \d+ tokens without any history and max_length is 20"
    ):
        make_data(max_length=20)
