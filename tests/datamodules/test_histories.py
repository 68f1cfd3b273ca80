"""Files of histories and catalogues: what is read, and what is refused with file and line."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.trainer.states import TrainerFn

from datamodules import HistoryDataModule
from datamodules.catalogue import NamedItems, read_items
from datamodules.errors import InputError
from datamodules.history_files import read_histories
from datamodules.prompt_settings import PromptSettings
from datamodules.sources.broken import BrokenRows
from datamodules.sources.table_chunks import TextFormat
from datamodules.title_trie import TitleTrie
from datamodules.tokenization import learn_tokenizer

CATALOGUE = 'item_id,title\n1,Heat\n2,Alien\n07,"Usual  Suspects, The"\n'
ITEMS = NamedItems(["Heat", "Alien", "Usual Suspects, The"], ["1", "2", "07"], "items.csv")


def write(path: Path, rows: list) -> BrokenRows:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return BrokenRows(path, skip=False)


def test_items_are_found_by_id_or_by_title(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(CATALOGUE)
    by_id = read_items(path, "item_id", "title", TextFormat())
    assert by_id.titles == ["Heat", "Alien", "Usual Suspects, The"]
    assert [by_id.find(name) for name in ("07", "1")] == [2, 0]
    by_title = read_items(path, "title", "title", TextFormat())
    assert by_title.find(" usual suspects,   THE") == 2
    assert by_title.names == by_title.titles
    for items, name in ((by_id, "7"), (by_id, "Heat"), (by_title, "1")):
        with pytest.raises(ValueError, match=f"item '{name}' is not in"):
            items.find(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "item_id,title\n1,Heat\n1,Alien\n",
            "items.csv, line 3: item '1' has the title 'Alien' here and 'Heat' before",
        ),
        ("item_id,title\n1,Heat\n2, \n", "items.csv, line 3: title ' ' is empty"),
        ("item_id,title\n", "items.csv: no rows under the header"),
        ("id,title\n1,Heat\n", "no field 'item_id'"),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "items.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_items(path, "item_id", "title", TextFormat())
    assert str(path) in str(caught.value)


def test_json_lines_and_parquet_are_the_same_histories(tmp_path: Path) -> None:
    rows = [
        {"user": "a", "history": ["1", "07"], "candidates": ["2", "1"]},
        {"user": "b", "history": ["2"], "candidates": ["07"]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "h.parquet")
    for broken in (write(tmp_path / "h.jsonl", rows), BrokenRows(tmp_path / "h.parquet", skip=False)):
        found = read_histories(broken, ITEMS)
        assert found.users == ["a", "b"]
        assert found.items.tolist() == [0, 2, 1]
        assert found.lengths.tolist() == [2, 1]
        assert found.candidates.tolist() == [[1, 0], [2, -1]]


def test_numbers_are_ids_too_and_candidates_may_be_absent(tmp_path: Path) -> None:
    found = read_histories(write(tmp_path / "h.jsonl", [{"user": 7, "history": [1, 2]}]), ITEMS)
    assert (found.users, found.items.tolist(), found.candidates.shape) == (["7"], [0, 1], (1, 0))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"user": "b", "history": []}, "the history is empty"),
        ({"user": "b"}, r"no field 'history' among \['user'\]"),
        ({"user": "b", "hystory": ["1"]}, "field 'hystory' is unknown: did you mean 'history'"),
        (
            {"user": "b", "history": ["1"], "Candidate": ["2"]},
            "field 'Candidate' is unknown: did you mean 'candidates'",
        ),
        ({"user": "b", "history": ["9"]}, "item '9' is not in items.csv"),
        ({"user": "b", "history": "1"}, "history '1' is not a list"),
        ({"user": "b", "history": [True]}, "history holds 'True', which is neither text nor a number"),
        ({"user": None, "history": ["1"]}, "user holds 'None', which is neither text nor a number"),
        ({"user": "b", "history": ["1"], "candidates": ["2", "2"]}, "a candidate stands there twice"),
        (
            {"user": "b", "history": ["1"], "candidates": ["2"]},
            "some rows have candidates and others have none",
        ),
        (["1"], "is not an object"),
    ],
)
def test_a_broken_row_is_refused_with_its_line_or_skipped(tmp_path: Path, row, message: str) -> None:
    path = tmp_path / "h.jsonl"
    rows = [{"user": "a", "history": ["1"]}, row, {"user": "c", "history": ["2"]}]
    with pytest.raises(InputError, match=f"h.jsonl, line 2: .*{message}"):
        read_histories(write(path, rows), ITEMS)
    skipping = BrokenRows(path, skip=True)
    assert read_histories(skipping, ITEMS).users == ["a", "c"]
    assert skipping.count == 1


def test_a_broken_row_of_parquet_is_named_and_a_torn_file_too(tmp_path: Path) -> None:
    path = tmp_path / "h.parquet"
    pq.write_table(pa.table({"user": ["a", "b"], "history": [["1"], []]}), path)
    with pytest.raises(InputError, match="h.parquet, row 2: the history is empty"):
        read_histories(BrokenRows(path, skip=False), ITEMS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="h.parquet: .*restore the file"):
        read_histories(BrokenRows(path, skip=False), ITEMS)
    with pytest.raises(InputError, match="empty.jsonl is empty: restore the file"):
        read_histories(write(tmp_path / "empty.jsonl", []), ITEMS)


def test_all_users_are_loaded_once_over_all_ranks(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(CATALOGUE)
    rows = [{"user": number, "history": ["1"]} for number in range(7)]
    write(tmp_path / "h.jsonl", rows)
    learn_tokenizer(ITEMS.titles).save_pretrained(tmp_path)
    paths = [str(tmp_path / name) for name in ("h.jsonl", "items.csv", "")]
    with pytest.raises(InputError, match="prompts.json does not say how the model was prompted"):
        HistoryDataModule(*paths).setup("predict")
    PromptSettings(max_length=700).write(tmp_path)
    data = HistoryDataModule(*paths, batch_size=3)
    with pytest.raises(InputError, match="histories have no targets to fit on: use predict"):
        data.setup("fit")
    with pytest.raises(InputError, match="histories have no targets to test on: use predict"):
        data.setup(TrainerFn.TESTING)
    data.setup("predict")
    seen = []
    for rank in range(2):
        data.trainer = type("Ranks", (), {"global_rank": rank, "world_size": 2})()
        seen += [row for batch in data.predict_dataloader() for row in batch.row.tolist()]
    assert sorted(seen) == list(range(7))
    PromptSettings(max_length=50).write(tmp_path)
    with pytest.raises(InputError, match="max_length is 50"):
        HistoryDataModule(*paths).setup("predict")


@given(st.sets(st.lists(st.integers(3, 6), max_size=4).map(tuple), min_size=1, max_size=30))
def test_a_trie_holds_every_title_and_nothing_else(titles: set[tuple[int, ...]]) -> None:
    answers = [np.array([*title, 2], dtype=np.int32) for title in titles]
    trie = TitleTrie.of(answers, [str(title) for title in titles])
    found = {}

    def walk(node: int, written: list[int]) -> None:
        if trie.item[node] >= 0:
            assert trie.num_children[node] == 0
            found[int(trie.item[node])] = written
        first = int(trie.first_child[node])
        for child in range(first, first + int(trie.num_children[node])):
            walk(child, [*written, int(trie.token[child])])

    walk(0, [])
    assert found == {item: answer.tolist() for item, answer in enumerate(answers)}
    assert trie.depth == max(map(len, answers))


def test_titles_that_a_tokenizer_cannot_tell_apart_are_refused() -> None:
    answers = [np.array(tokens, np.int32) for tokens in ([4, 2], [3, 2], [4, 2])]
    with pytest.raises(InputError, match="'a' and 'c' have the same tokens"):
        TitleTrie.of(answers, ["a", "b", "c"])
