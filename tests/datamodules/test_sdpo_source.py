import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules import InputError, RecommendationDataModule
from datamodules.candidates import AsGiven, Popularity, Redrawn, Reshuffled
from datamodules.corpus import Corpus, ExampleRules
from datamodules.sources import SDPOSource
from datamodules.sources.broken import BrokenRows
from tests.conftest import tiny_titles

RULES = ExampleRules(min_history=2, max_history=3, seed=0)
LLARA = {
    "id": 7,
    "seq_title": "ignored",
    "historyList": ["A", "B: the 2nd"],
    "itemList": ["C", "D"],
    "trueSelection": "D",
}


def row(history: Any, items: list[str], target: str) -> dict[str, Any]:
    return {"historyList": history, "itemList": items, "trueSelection": target}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    """As the files are published: indented by four, non-ASCII characters escaped."""
    path.write_text(json.dumps(rows, indent=4))
    return str(path)


def source(folder: Path, rows: list[Any], **settings: Any) -> SDPOSource:
    good = [row("A::B", ["C", "D"], "C")]
    train = write(folder / "train.json", rows)
    return SDPOSource(
        train, write(folder / "test.json", good), val=write(folder / "val.json", good), **settings
    )


def load(folder: Path, rows: list[Any], **settings: Any) -> Corpus:
    return source(folder, rows, **settings).load(folder, RULES)


def test_rows_by_hand(tmp_path: Path) -> None:
    """Titles are numbered as they appear: A, B: the 2nd, C, D in the first row, then µ-Ziq and B.

    The second row has four history items, of which three are kept; ids go on through validation and test.
    """
    corpus = load(tmp_path, [LLARA, row("A::\u00b5-Ziq::a ::C", ["D", "B"], "D")])
    assert corpus.titles == ["A", "B: the 2nd", "C", "D", "µ-Ziq", "B"]
    assert corpus.examples.id.tolist() == [0, 1, 2, 3]
    assert corpus.examples.split.tolist() == [0, 0, 1, 2]
    assert corpus.examples.history[:2].tolist() == [[-1, 0, 1], [4, 0, 2]]
    assert corpus.examples.target.tolist() == [3, 3, 2, 2]
    assert corpus.lists is not None
    assert corpus.lists.tolist() == [[2, 3], [3, 5], [2, 3], [2, 3]]
    assert sorted(corpus.train_log[1].tolist()) == sorted([0, 1, 3, 0, 4, 0, 2, 3])
    assert corpus.users == ["train.json:2", "train.json:15", "val.json:2", "test.json:2"]


def test_blocks_of_any_size_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datamodules.sources import json_rows

    rows = [row(f"h{n}::é\U0001f3ac{n}", [f"c{n}", '["]},{'], f"c{n}") for n in range(50)]
    path = Path(write(tmp_path / "rows.json", rows))
    whole = list(json_rows.json_array(BrokenRows(path, skip=False)))
    assert [value for _, value in whole] == rows
    assert [line for line, _ in whole] == [2 + 8 * n for n in range(50)]
    for size in (1, 2, 7, 100):
        monkeypatch.setattr(json_rows, "_BLOCK_CHARACTERS", size)
        assert list(json_rows.json_array(BrokenRows(path, skip=False))) == whole
    path.write_text("[]")
    assert list(json_rows.json_array(BrokenRows(path, skip=False))) == []


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (row("A::B", ["C", "D"], "E"), "trueSelection 'E' is not in itemList"),
        (row("A::B", ["C", "D", "E"], "E"), "itemList holds 3 titles and the rows before hold 2"),
        (row("A::B", ["C", " c"], "C"), "itemList names an item twice"),
        (row("A::::B", ["C", "D"], "C"), "historyList holds an empty title"),
        (row(["A", 3], ["C", "D"], "C"), "historyList .* is not text"),
        (row("A::B", "C::D", "C"), "itemList 'C::D' is not text"),
        ({"historyList": "A::B", "itemList": ["C"]}, "no field 'trueSelection' among"),
        (row("A::B", [], "C"), "itemList is empty"),
        (row("Nobody's::A::B", ["C", "Nowhere"], "E"), "trueSelection 'E' is not in itemList"),
        (["A"], ".* is not an object"),
    ],
)
def test_a_broken_row_is_named_or_skipped_and_counted(tmp_path: Path, broken: Any, message: str) -> None:
    rows = [row("A::B", ["C", "D"], "D"), broken, row("A::B", ["D", "F"], "D")]
    with pytest.raises(
        InputError, match=f"train.json, line 10: {message}.*: mend the row or set skip_broken_rows"
    ):
        load(tmp_path, rows)
    corpus = load(tmp_path, rows, skip_broken_rows=True)
    assert corpus.examples.id.tolist() == [0, 2, 3, 4]
    assert corpus.report["broken rows of train.json, skipped"] == 1
    assert corpus.titles == ["A", "B", "C", "D", "F"], "what stands in broken rows alone is no item"
    assert corpus.lists is not None
    assert corpus.lists.tolist() == [[2, 3], [3, 4], [2, 3], [2, 3]]
    assert corpus.examples.time is None


def test_half_a_character_is_refused_or_skipped_and_counted(tmp_path: Path) -> None:
    """JSON may escape one half of a pair, which is no text; whole pairs are."""
    rows = [row("A::\ud800", ["C", "D"], "D"), row("A::\U0001f3ac", ["C", "D"], "D")]
    with pytest.raises(InputError, match=r"train.json, line 2: '\\ud800' is half a character: mend the row"):
        load(tmp_path, rows)
    corpus = load(tmp_path, rows, skip_broken_rows=True)
    assert corpus.report["broken rows of train.json, skipped"] == 1
    assert corpus.titles == ["A", "\U0001f3ac", "C", "D", "B"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[\n{"historyList": "A', "line 2: Unterminated string"),
        (b'[\n{"historyList": "A"}\n', r"line 3: the file ends where ',' must come"),
        (b'{"a": 1}', r"none of its 1 rows can be used, the first of them, line 1: no field 'historyList'"),
        (b"\n", "is empty: restore the file"),
        (b"[]\n[", r"line 2: the array has ended, found '\['"),
        (b"[\n" + b"[" * 100_000, "line 2: maximum recursion depth exceeded"),
        (b"[\n" + b"9" * 5000 + b"]", "line 2: Exceeds the limit"),
        (b'[\n"caf\xe9"]', "line 2: invalid continuation byte: the file must be UTF-8"),
    ],
)
def test_a_truncated_or_wrongly_encoded_file_is_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    reader = source(tmp_path, [])
    (tmp_path / "train.json").write_bytes(content)
    with pytest.raises(InputError, match=f"train.json[:,]? {message}") as caught:
        SDPOSource(
            **{"train": reader.files.train, "test": reader.files.train, "skip_broken_rows": True}
        ).load(tmp_path, RULES)
    assert "\n" not in str(caught.value)


def test_an_empty_split_and_short_histories(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train.json: the train split is empty"):
        load(tmp_path, [])
    with pytest.raises(InputError, match="train.json: the train split is empty"):
        load(tmp_path, [row("A", ["C", "D"], "D")])
    with pytest.raises(InputError, match="the val split is empty"):
        SDPOSource(write(tmp_path / "one.json", [LLARA]), write(tmp_path / "two.json", [LLARA])).load(
            tmp_path, RULES
        )
    corpus = load(tmp_path, [row("A", ["C", "D"], "D"), LLARA])
    assert corpus.report["rows with too short a history, skipped"] == 1


@pytest.fixture
def published(tmp_path: Path) -> dict[str, str]:
    """Two files in the published format; the lists are drawn and shuffled with the target as the seed."""
    titles = list(tiny_titles().values())
    titles = [title.replace("::", ";") for title in titles]
    rows = []
    for n in range(240):
        rng = random.Random(n)
        target, *history = rng.sample(titles, 6)
        draw = random.Random(target)
        items = [target, *draw.sample([title for title in titles if title != target], 7)]
        draw.shuffle(items)
        rows.append(row("::".join(history), items, target))
    return {
        "train": write(tmp_path / "val.json", rows[:160]),
        "test": write(tmp_path / "test.json", rows[160:]),
    }


def module(files: dict[str, str], **settings: Any) -> RecommendationDataModule:
    settings = {
        "batch_size": 4,
        "num_candidates": 8,
        "cache_dir": str(Path(files["train"]).parent / "cache"),
        **settings,
    }
    data = RecommendationDataModule(SDPOSource(**files), **settings)
    data.prepare_data()
    data.setup("fit")
    return data


def test_the_validation_file_trains_and_its_last_rows_are_held_out(published) -> None:
    """Of 160 rows the last tenth is held out: published rows are windows, and neighbours share all but one item."""
    data = module(published)
    ids = {split: {row["id"] for row in data.store.splits[split]} for split in ("train", "val", "test")}
    assert ids == {"train": set(range(144)), "val": set(range(144, 160)), "test": set(range(160, 240))}
    batch = next(iter(data.train_dataloader()))
    assert batch.items.shape == (4, 1)


def test_lists_as_given_reshuffled_and_redrawn(published) -> None:
    """The same sets in another order, then other sets; re-drawn ones are the default."""
    given, shuffled, default = (
        {
            row["id"]: row
            for split in module(published, candidates=each).store.splits.values()
            for row in split
        }
        for each in (AsGiven(), Reshuffled(), None)
    )
    rows = [each for path in published.values() for each in json.loads(Path(path).read_text())]
    titles = module(published).store.titles
    same_order = same_set = 0
    for example, published_row in enumerate(rows):
        items = given[example]["candidates"]
        assert [titles[item].casefold() for item in items] == [
            " ".join(t.split()).casefold() for t in published_row["itemList"]
        ]
        assert sorted(shuffled[example]["candidates"]) == sorted(items)
        same_order += shuffled[example]["candidates"] == items
        redrawn = default[example]["candidates"]
        same_set += set(redrawn) == set(items)
        assert default[example]["target"] in redrawn
        assert not set(redrawn) & set(default[example]["history"])
    assert same_order < 3
    assert same_set < 3


def test_each_choice_of_candidates_is_other_data(published) -> None:
    choices = [None, AsGiven(), Reshuffled(), Redrawn(Popularity()), Redrawn(Popularity(power=0.5))]
    assert len({module(published, candidates=each).fingerprint for each in choices}) == len(choices)
    assert module(published, candidates=Redrawn()).fingerprint == module(published).fingerprint


def test_lists_that_are_not_there_are_refused(published, make_data) -> None:
    with pytest.raises(
        InputError,
        match=r"the source's lists hold 8 candidates and num_candidates is 7: set num_candidates: 8",
    ):
        module(published, candidates=AsGiven(), num_candidates=7)
    with pytest.raises(InputError, match=r"Reshuffled\(\) need a source that brings lists"):
        make_data(candidates=Reshuffled())


def test_the_targets_place_as_given_is_the_targets_own(published) -> None:
    """What leaks in the published files: rows of one target have it at one place. Re-shuffled, they do not."""
    for candidates, alike in ((AsGiven(), True), (Reshuffled(), False)):
        places: dict[int, set[int]] = {}
        for each in module(published, candidates=candidates).store.splits["train"]:
            places.setdefault(each["target"], set()).add(
                int(np.argmax(np.array(each["candidates"]) == each["target"]))
            )
        assert all(len(place) == 1 for place in places.values()) == alike
