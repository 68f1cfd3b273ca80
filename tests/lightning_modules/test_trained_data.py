"""What data a trained model may be used on: other rows, yes; prompts and tokens it has not learned to read, no."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from datamodules import HistoryDataModule, InputError, PreferencePairsDataModule, RecommendationDataModule
from datamodules.base import StoredDataModule
from datamodules.candidates import Popularity, Redrawn
from datamodules.data_record import DataRecord
from datamodules.sources import RecBoleSource, SDPOSource
from datamodules.sources.preferences import PreferenceFiles
from lightning_modules.baselines.caser import Caser
from lightning_modules.baselines.sasrec import SASRec
from lightning_modules.checkpoint_files import write_whole
from lightning_modules.checkpoints import require_same_tokens, require_trained_data
from lightning_modules.run_folder import require_same_config
from tests.cli import config, run
from tests.conftest import tiny_titles

LM = ("tokens",)
OTHER_TEST_FILE = (
    "{}: other data than the run had: the content of data.source.test has changed: numbers are not comparable with the "
    "run's own"
)


def opened(data: StoredDataModule) -> StoredDataModule:
    data.prepare_data()
    data.setup("fit")
    return data


def used(
    trained: StoredDataModule, data: StoredDataModule, stage: str = "test", numbered: tuple[str, ...] = LM
) -> None:
    """Checks data against a checkpoint's record, which has been through plain types."""
    record = json.loads(json.dumps(trained.record.plain()))
    require_trained_data(record, data.record, numbered, stage)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Returns what was said since the last call."""
    caplog.set_level(logging.INFO)

    def say() -> str:
        messages = [record.getMessage() for record in caplog.records if "other data" in record.getMessage()]
        caplog.clear()
        return "\n".join(messages)

    return say


def test_a_trained_model_is_tested_on_other_rows_and_goes_on_with_the_same(
    tiny_folder: Path, tmp_path: Path, monkeypatch, capsys, said
) -> None:
    """All 92 test examples for a sample of 21, which a resumed training may have, too; then another seed, by name."""
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    settings["trainer"].update(max_steps=2, val_check_interval=2)
    folder = run("fit", "t", settings)
    everything = ["--ckpt_path", "last", "--data.max_test_examples", "null"]
    run("predict", "t", settings, *everything)
    assert pq.read_table(folder / "predictions.parquet").num_rows == 92
    assert (
        "predict: other data than the run had: data.max_test_examples was 21 and is None: numbers" in said()
    )
    settings["last_checkpoint"]["every_n_train_steps"] = 1
    run("fit", "t", settings, *everything)
    assert said() == ""
    run("test", "t", settings, "--ckpt_path", "best", "--data.seed", "1", "--data.max_test_examples", "9")
    assert said() == (
        "test: other data than the run had: data.seed was 0 and is 1; data.max_test_examples was 21 and is 9: numbers "
        "are not comparable with the run's own"
    )
    with pytest.raises(SystemExit):
        run("test", "t", settings, "--ckpt_path", "best", "--data.max_length", "256")
    line = "error: the checkpoint was trained on other prompts: data.max_length was 512 and is 256: use the settings"
    assert line in capsys.readouterr().err


def test_a_resumed_run_may_have_another_test_file_and_sample(tmp_path: Path) -> None:
    """Its config alone: here of a source behind another one, as `HubSource` has it."""

    def asked(**files: str) -> dict[str, Any]:
        reader = {"init_args": {"train": "a.json", "test": "b.json", **files}}
        source = {"init_args": {"reader": reader}}
        return {"data": {"init_args": {"source": source, "max_test_examples": 9 - len(files)}}}

    path = tmp_path / "last.ckpt"
    write_whole({"config": asked()}, path)
    require_same_config(str(path), asked(test="c.json"))
    with pytest.raises(InputError, match="reader.init_args.train was 'a.json' and is 'c.json': resume"):
        require_same_config(str(path), asked(train="c.json"))


@pytest.mark.parametrize(
    ("stage", "settings", "named"),
    [
        ("test", {"max_val_examples": 5, "num_negatives": 3, "batch_size": 9}, []),
        ("predict", {"max_test_examples": 5}, ["data.max_test_examples was 2000 and is 5"]),
        ("validate", {"max_test_examples": 5, "max_val_examples": 5}, ["data.max_val_examples was 2000 and is 5"]),
        (
            "predict",
            {"candidates": Redrawn(Popularity()), "num_candidates": 7, "min_history": 4},
            ["data.candidates was 'Redrawn(weighting=Uniform())' and is 'Redrawn(weighting=Popularity(power=1.0))'",
             "data.num_candidates was 8 and is 7", "data.min_history was 3 and is 4"],
        ),
    ],
)  # fmt: skip
def test_other_rows_are_told_where_they_are_not_asked_for_by_the_stage(
    make_data, said, stage: str, settings: dict[str, Any], named: list[str]
) -> None:
    used(make_data(), make_data(**settings), stage)
    told = said()
    assert all(name in told for name in named)
    assert bool(told) == bool(named)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_history": 4}, "data.max_history was 10 and is 4"),
        ({"max_length": 300}, "data.max_length was 512 and is 300"),
        ({"title_tokens": True}, "another tokenizer: data.title_tokens was False and is True"),
        (
            {"templates": ["New{history} {candidates}"]},
            r"another tokenizer: data.templates was \['Films.*New",
        ),
    ],
)
@pytest.mark.parametrize("stage", ["fit", "test"])
def test_other_prompts_and_tokens_are_refused_by_name(
    make_data, settings: dict[str, Any], named: str, stage: str
) -> None:
    with pytest.raises(InputError, match=named):
        used(make_data(), make_data(**settings), stage)


@pytest.fixture
def renamed(tiny_folder: Path, tmp_path: Path) -> Callable[..., RecommendationDataModule]:
    """The small data with another title for one film."""
    folder = shutil.copytree(tiny_folder, tmp_path / "renamed" / "tiny")
    file = folder / "tiny.item"
    file.write_text(file.read_text().replace("Blue Red 1", "Never Seen"))

    def make(**settings: Any) -> RecommendationDataModule:
        kept = {"num_candidates": 8, "cache_dir": str(tmp_path), **settings}
        return opened(RecommendationDataModule(RecBoleSource(str(folder)), **kept))

    return make


def test_another_catalogue_needs_the_trained_tokenizer(make_data, renamed, tmp_path: Path, said) -> None:
    """Where the tokenizer is learned, another title gives all tokens other numbers; the remedy in the message works."""
    trained = make_data()
    with pytest.raises(
        InputError,
        match=r"the catalogue of data.source is another \(60 items then and 60 now, not the same\)",
    ) as caught:
        used(trained, renamed())
    place = f"examples-{trained.fingerprint}/tokenizer"
    assert place in str(caught.value)
    again = renamed(tokenizer=str(tmp_path / place))
    used(trained, again)
    assert "the content of data.source has changed" in said()
    with pytest.raises(InputError, match="trained on other data: the content of data.source has changed"):
        used(trained, again, "fit")


def test_vectors_of_items_and_users_need_the_same_ones(make_data, renamed, said) -> None:
    """SASRec knows items by number and no tokens, Caser users, too; a log with one row more has the same of both."""
    with pytest.raises(
        InputError, match="a vector for each of its items, and data.source brings others: 60 items"
    ):
        used(make_data(), renamed(), numbered=SASRec.numbered)
    used(make_data(), make_data(seed=3), numbered=Caser.numbered)
    assert "data.seed was 0 and is 3" in said()
    trained, other = make_data().record, make_data().record
    other = DataRecord(other.settings, {**other.contents, "users": (3, "sha256:0")})
    with pytest.raises(InputError, match="each of its users, .*: 40 users then and 3 now"):
        require_trained_data(trained.plain(), other, Caser.numbered, "test")
    require_trained_data(trained.plain(), other, SASRec.numbered, "test")


def listed(titles: list[str]) -> dict[str, Any]:
    return {"historyList": titles[:4], "itemList": titles[4:8], "trueSelection": titles[5]}


def test_another_test_file_of_lists_is_other_rows_alone(tmp_path: Path, said) -> None:
    """It may hold the same titles in other rows; new ones are another catalogue, which tokens were learned from."""
    titles = [title for title in tiny_titles().values() if "::" not in title][:20]
    rows = [listed(titles[n:] + titles[:n]) for n in range(20)]
    files = {
        "train": rows,
        "test": rows[:5],
        "other": rows[5:7],
        "new": [listed([*titles[:7], "Never Seen"])],
    }
    for name, own in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(own))

    def data(test: str) -> StoredDataModule:
        source = SDPOSource(str(tmp_path / "train.json"), str(tmp_path / f"{test}.json"))
        return opened(RecommendationDataModule(source, num_candidates=4, cache_dir=str(tmp_path)))

    for stage in ("fit", "validate"):
        used(data("test"), data("other"), stage)
    assert said() == ""
    used(data("test"), data("other"), "test")
    assert said() == OTHER_TEST_FILE.format("test")
    with pytest.raises(InputError, match="another tokenizer: the catalogue of .*20 items then and 21 now"):
        used(data("test"), data("new"))


def test_preferences_are_tested_on_another_file_and_not_with_another_training_file(
    tmp_path: Path, said
) -> None:
    """Their tokenizer is learned from the training file."""
    for name, word in (("train", "red"), ("test", "blue"), ("third", "green")):
        rows = [{"prompt": f"{word} {n}", "chosen": f"{word} yes", "rejected": ["no"]} for n in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def data(train: str, test: str | None, **settings: Any) -> StoredDataModule:
        files = PreferenceFiles(*(name and str(tmp_path / f"{name}.jsonl") for name in (train, None, test)))
        return opened(PreferencePairsDataModule(files, cache_dir=str(tmp_path), **settings))

    trained = data("train", "test")
    shutil.copy(tmp_path / "test.jsonl", tmp_path / "copy.jsonl")
    used(trained, data("train", "copy"))
    for stage in ("fit", "validate"):
        used(trained, data("train", "third"), stage)
        used(trained, data("train", None), stage)
    assert said() == ""
    for stage in ("test", "predict"):
        used(trained, data("train", "third"), stage)
        assert said() == OTHER_TEST_FILE.format(stage)
    with pytest.raises(InputError, match="another tokenizer: the content of data.source.train has changed"):
        used(trained, data("third", "test"))
    with pytest.raises(InputError, match="trained on other prompts: data.max_length was 512 and is 64"):
        used(trained, data("train", "test", max_length=64))
    with pytest.raises(InputError, match="trained on other data: data.seed was 0 and is 5: restore the data"):
        used(trained, data("train", "test", seed=5), "fit")


def test_stage_1_must_have_the_same_tokens_and_may_have_other_prompts(make_data, said) -> None:
    trained = make_data().record.plain()
    require_same_tokens(trained, make_data().record, "sft.ckpt")
    assert said() == ""
    require_same_tokens(trained, make_data(max_length=300, seed=2).record, "sft.ckpt")
    assert said() == (
        "sft.ckpt was trained on other data: data.max_length was 512 and is 300; data.seed was 0 and is 2: see that "
        "none of its training rows is evaluated here"
    )
    with pytest.raises(
        InputError, match="sft.ckpt was trained with another tokenizer: data.title_tokens was False"
    ):
        require_same_tokens(trained, make_data(title_tokens=True).record, "sft.ckpt")
    with pytest.raises(InputError, match="old.ckpt does not say which data it was trained on"):
        require_same_tokens(None, make_data().record, "old.ckpt")


def test_histories_are_prompted_as_the_model_was_trained(make_data, tmp_path: Path) -> None:
    """An export of another run with the same tokenizer, but prompts cut elsewhere."""
    trained, exported = make_data(), tmp_path / "adapter"
    shutil.copytree(tmp_path / f"examples-{trained.fingerprint}" / "tokenizer", exported)
    (tmp_path / "histories.jsonl").write_text(json.dumps({"user": "u", "history": ["Blue Red 1"]}))
    (tmp_path / "items.csv").write_text("title\nBlue Red 1\nRiver Red 2\n")
    for other, named in ((trained, ""), (make_data(max_length=300), "data.max_length was 512 and is 300")):
        other.prompt_settings.write(exported)
        data = HistoryDataModule(
            *(str(tmp_path / name) for name in ("histories.jsonl", "items.csv", "adapter")),
            item_field="title",
        )
        data.setup("predict")
        if not named:
            require_trained_data(trained.record.plain(), data.record, LM, "predict")
            continue
        with pytest.raises(InputError, match=named):
            require_trained_data(trained.record.plain(), data.record, LM, "predict")
