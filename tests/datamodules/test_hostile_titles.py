"""Titles with anything in them, through every reader that can hold them, the store and back."""

import csv
import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules import InputError, PreferencePairsDataModule, RecommendationDataModule
from datamodules.candidates import AsGiven
from datamodules.corpus import ExampleRules
from datamodules.interactions import fold_title
from datamodules.prompts import FILM_TEMPLATES, Template
from datamodules.sources import PreferenceFiles, RecBoleSource, SDPOSource, Source, TableSource
from tests.conftest import write_atomic

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
HOSTILE = st.sampled_from(
    ["a, b", "a::b", "a: b", "[x]", '"q"', "two\nlines", "\U0001f3ac", "\u202eabc\u05d0", "</s>", "<s>"]
) | st.sampled_from(
    ["<pad>", "{history}", "{candidates}", "\u2028", "x" * 2000, "\t", "\\", "a\r\nb", "\x00", "nan", "null"]
)


@st.composite
def catalogues(draw: st.DrawFn) -> list[str]:
    """Eight to ten titles that differ once white space and case are folded."""
    return draw(
        st.lists(
            (HOSTILE | TEXT).filter(lambda title: fold_title(title) != ""),
            min_size=8,
            max_size=10,
            unique_by=lambda title: fold_title(title).casefold(),
        )
    )


def write_table(folder: Path, titles: list[str]) -> Source:
    """Four users who each leave two items or more."""
    rows = [(n, user) for n in range(len(titles)) for user in range(4) if n % 4 != user]
    log = [("user_id", "item_id", "timestamp"), *((user, n, 10 * n + user) for n, user in rows)]
    for name, table in (("log", log), ("items", [("item_id", "title"), *enumerate(titles)])):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows(table)
    return TableSource(str(folder / "log.csv"), catalogue=str(folder / "items.csv"))


def write_sdpo(folder: Path, titles: list[str]) -> Source:
    rows = [
        {"historyList": titles[:3], "itemList": titles[3:7], "trueSelection": titles[3 + n % 4]}
        for n in range(120)
    ]
    for name in ("train.json", "test.json"):
        (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return SDPOSource(str(folder / "train.json"), str(folder / "test.json"))


def write_parquet(folder: Path, titles: list[str]) -> Source:
    log = csv.reader((folder / "log.csv").read_text(encoding="utf-8").splitlines()[1:])
    user, item, time = zip(*log, strict=True)
    columns = {"user_id": user, "item_id": item, "timestamp": time, "title": [titles[int(n)] for n in item]}
    pq.write_table(pa.table(columns), folder / "log.parquet")
    return TableSource(str(folder / "log.parquet"))


def write_recbole(folder: Path, titles: list[str]) -> Source:
    """A title is one line without tabs: the format holds no other."""
    log = csv.reader((folder / "log.csv").read_text(encoding="utf-8").splitlines()[1:])
    rows = [(user, item, float(time)) for user, item, time in log]
    names = {str(n): fold_title(title) for n, title in enumerate(titles)}
    return RecBoleSource(str(write_atomic(folder / "log", "log", rows, names)))


def built(folder: Path, source: Source, **options) -> RecommendationDataModule:
    cache = str(folder / "cache")
    data = RecommendationDataModule(source, max_length=20000, cache_dir=cache, min_history=2, **options)
    data.prepare_data()
    data.setup("fit")
    return data


def assert_prompts_name_their_items(data: RecommendationDataModule, wanted: list[str]) -> None:
    titles = data.store.titles
    assert {title.casefold() for title in titles} <= {fold_title(title).casefold() for title in wanted}
    templates = [Template.parse(text) for text in FILM_TEMPLATES]
    specials = {data.tokenizer.eos_token_id, data.tokenizer.bos_token_id, data.tokenizer.pad_token_id}
    for split in data.store.splits.values():
        for row in split:
            history, candidates = ([titles[item] for item in row[name]] for name in ("history", "candidates"))
            text = templates[row["template"]].render(history, candidates)
            assert data.tokenizer.decode(row["prompt"], clean_up_tokenization_spaces=False) == f"<s>{text}"
            assert not specials & set(row["prompt"][1:])


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(titles=catalogues())
def test_tables_and_lists_name_the_same_items_in_the_prompt(titles: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = write_table(folder, titles)
        table = built(folder, log, num_candidates=2)
        assert [fold_title(title) for title in titles] == table.store.titles
        assert_prompts_name_their_items(table, titles)
        for write in (write_parquet, write_recbole):
            same = built(folder, write(folder, titles), num_candidates=2)
            assert sorted(same.store.titles) == sorted(table.store.titles)
            assert_prompts_name_their_items(same, titles)
        given_lists = built(folder, write_sdpo(folder, titles), num_candidates=4, candidates=AsGiven())
        assert_prompts_name_their_items(given_lists, titles)


RESPONSES = st.lists((HOSTILE | TEXT).filter(bool), min_size=3, max_size=6, unique=True)


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(RESPONSES, min_size=1, max_size=6))
def test_preferences_read_as_they_were_written(texts: list[list[str]]) -> None:
    """Prompts and responses keep every character, white space included."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "train.jsonl"
        rows = [{"prompt": a, "chosen": b, "rejected": rest} for a, b, *rest in texts]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files = PreferenceFiles(train=str(path), val=str(path))
        data = PreferencePairsDataModule(files, max_length=20000, cache_dir=name)
        data.prepare_data()
        data.setup("fit")
        decode = partial(data.tokenizer.decode, clean_up_tokenization_spaces=False)
        seen = 0
        for row in [row for split in data.store.splits.values() for row in split]:
            prompt, *responses = texts[row["id"] % len(texts)]
            ends = np.cumsum(row["lengths"])
            tokens = np.split(np.array(row["responses"]), ends[:-1])
            assert decode(row["prompt"]) == f"<s>{prompt}"
            assert [decode(own) for own in tokens] == [f"{text}</s>" for text in responses]
            assert [list(own).count(data.tokenizer.eos_token_id) for own in tokens] == [1] * len(responses)
            seen += 1
        assert seen == 2 * len(texts)


@pytest.mark.parametrize("title", ["", " ", "\t\u2028"])
def test_an_empty_title_is_refused_in_every_format(title: str, tmp_path: Path) -> None:
    """Nobody could name such an item; the message says where it stands."""
    titles = ["a", "b", title, *"defgh"]
    write_table(tmp_path, titles)
    sources = [
        (write_table(tmp_path, titles), r"items.csv, line 4: title .* is empty"),
        (write_parquet(tmp_path, titles), r"log.parquet, row 7: title .* is empty"),
        (write_recbole(tmp_path, titles), r"log.item, line 4: title .* is empty"),
        (write_sdpo(tmp_path, titles), r"train.json, line 1: historyList holds an empty title"),
    ]
    for source, message in sources:
        with pytest.raises(InputError, match=message):
            source.load(tmp_path, ExampleRules(min_history=2, max_history=3, seed=0))


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(titles=catalogues(), other=HOSTILE | TEXT)
def test_no_title_changes_anothers_tokens(titles: list[str], other: str) -> None:
    """The same tokenizer, one title replaced: every other item's response keeps its tokens."""
    if not fold_title(other) or fold_title(other).casefold() in {fold_title(t).casefold() for t in titles}:
        return
    with tempfile.TemporaryDirectory() as name:
        first, second = Path(name) / "first", Path(name) / "second"
        first.mkdir()
        second.mkdir()
        before = built(first, write_table(first, titles), num_candidates=2)
        tokenizer = str(next((first / "cache").glob("examples-*/tokenizer")))
        before = built(first, write_table(first, titles), num_candidates=2, tokenizer=tokenizer)
        after = built(
            second, write_table(second, [other, *titles[1:]]), num_candidates=2, tokenizer=tokenizer
        )
        for a, b in list(zip(before._responses, after._responses, strict=True))[1:]:
            assert a.tolist() == b.tolist()
