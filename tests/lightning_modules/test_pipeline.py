"""SFT, DynamicPO, export, and recommendations from histories, through the command line, for every architecture."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from peft import AutoPeftModelForCausalLM

from datamodules import RecommendationDataModule
from datamodules.prompt_settings import PromptSettings
from datamodules.sources import RecBoleSource
from datamodules.tokenization import load_tokenizer
from lightning_modules import recommend
from tests.cli import config, run, supervised
from tests.conftest import HOSTILE_TITLES, tiny_titles
from tests.lightning_modules.architectures import each_architecture, save_tiny
from tests.lightning_modules.test_ddp import launch, rows_of

LORA = {"rank": 2, "alpha": 8, "dropout": 0.0}


def histories_and_catalogue() -> list[dict[str, Any]]:
    """Writes `histories.jsonl` and `items.tsv`, and returns the histories."""
    titles = tiny_titles()
    rows = [{"user": f"u{n}", "history": [f"i{n}", f"i{2 * n}", f"i{3 * n}"]} for n in range(1, 6)]
    Path("histories.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["item_id\ttitle", *(f"{name}\t{title}" for name, title in titles.items())]
    Path("items.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rows


def recommending(settings: dict[str, Any], trained: Path, **arguments: Any) -> dict[str, Any]:
    """The same run with histories in the place of its data."""
    data = {
        "class_path": "datamodules.HistoryDataModule",
        "init_args": {
            "histories": "histories.jsonl", "catalogue": "items.tsv", "trained": str(trained), "delimiter": "\t",
            **arguments,
        },
    }  # fmt: skip
    return {**settings, "data": data}


@each_architecture
def test_from_tuning_to_recommending(
    architecture: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = str(save_tiny(architecture, tmp_path / "base"))
    pretrained = {
        "language_model": {"class_path": "lightning_modules.PretrainedLM", "init_args": {"name": name}},
        "lora": LORA,
    }
    stages = [
        supervised(tiny_folder),
        config(tiny_folder, init_from="outputs/tiny/sft/checkpoints/best.ckpt"),
    ]
    for settings in stages:
        settings["model"]["init_args"].update(pretrained)
        settings["data"]["init_args"].update(tokenizer=name, max_length=1024, max_val_examples=4)
        settings["trainer"].update(max_steps=2, val_check_interval=2)
    stages[1]["trainer"]["callbacks"] = [{"class_path": "callbacks.AdapterExport"}]
    run("fit", "sft", stages[0])
    folder = run("fit", "dynamicpo", stages[1])
    rows = histories_and_catalogue()
    made = recommending(stages[1], folder / "adapter", beam=60)
    run("predict", "dynamicpo", made, "--ckpt_path", "best")

    table = pq.read_table(folder / "recommendations.parquet").to_pylist()
    titles = tiny_titles()
    assert [row["user"] for row in table] == [row["user"] for row in rows]
    assert all(row["titles"] == [titles[item] for item in row["items"]] for row in table)
    assert all(len(set(row["items"])) == 10 for row in table)

    exported = AutoPeftModelForCausalLM.from_pretrained(folder / "adapter")
    found = recommend(
        exported,
        load_tokenizer(str(folder / "adapter")),
        [[titles[item] for item in row["history"]] for row in rows],
        list(titles.values()),
        prompts=PromptSettings.read(folder / "adapter"),
        beam=60,
    )
    for row, own in zip(table, found, strict=True):
        assert row["titles"] == [title for title, _ in own]
        torch.testing.assert_close(row["scores"], [score for _, score in own], rtol=1e-6, atol=1e-5)


def test_given_candidates_get_the_ranks_that_the_test_set_gives_them(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test examples, written out as histories with candidates, are predicted as the test examples are."""
    monkeypatch.chdir(tmp_path)
    template = ["Watched:{history}\nNow one of:{candidates}\nAnswer:"]
    settings = config(tiny_folder)
    settings["data"]["init_args"]["templates"] = template
    settings["trainer"]["callbacks"] = [{"class_path": "callbacks.AdapterExport"}]
    folder = run("fit", "run", settings)
    run("predict", "run", settings, "--ckpt_path", "best")
    data = RecommendationDataModule(
        RecBoleSource(str(tiny_folder)),
        num_candidates=8,
        templates=template,
        max_val_examples=16,
        max_test_examples=21,
    )
    data.prepare_data()
    data.setup("test")
    titles = data.store.titles
    histories_and_catalogue()
    with Path("histories.jsonl").open("w") as file:
        for row in data.store.splits["test"]:
            items = {field: [titles[item] for item in row[field]] for field in ("history", "candidates")}
            file.write(json.dumps({"user": row["id"], **items}) + "\n")
    made = recommending(settings, folder / "model", item_field="title", num_recommendations=8)
    run("predict", "run", made, "--ckpt_path", "best")
    expected = pq.read_table(folder / "predictions.parquet").to_pylist()
    found = pq.read_table(folder / "recommendations.parquet").to_pylist()
    assert [row["titles"] for row in found] == [row["candidates"] for row in expected]
    assert [row["user"] for row in found] == [str(row["id"]) for row in expected]
    assert any(title in HOSTILE_TITLES for row in found for title in row["titles"])


def test_what_cannot_be_recommended_is_one_line(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    settings["trainer"].update(
        max_steps=2, val_check_interval=2, callbacks=[{"class_path": "callbacks.AdapterExport"}]
    )
    folder = run("fit", "run", settings)
    histories_and_catalogue()
    with Path("histories.jsonl").open("a") as file:
        file.write('{"user": "u9", "history": []}\n')
    made = recommending(settings, folder / "model")
    assert "histories.jsonl, line 6: the history is empty" in refused(made, capsys, "--ckpt_path", "best")
    made["data"]["init_args"]["skip_broken_rows"] = True
    run("predict", "run", made, "--ckpt_path", "best")
    assert pq.read_table(folder / "recommendations.parquet").num_rows == 5
    made["data"]["init_args"]["beam"] = 0
    assert "beam=0 must be at least 1" in refused(made, capsys, "--ckpt_path", "best")
    made["data"]["init_args"]["beam"] = 20
    made["model"] = {"class_path": "lightning_modules.baselines.Popularity"}
    assert "recommending needs a language model and Popularity knows only" in refused(
        made, capsys, "--trainer.default_root_dir", "elsewhere"
    )


def refused(settings: dict[str, Any], capsys: pytest.CaptureFixture[str], *args: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run("predict", "run", settings, *args)
    assert caught.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.slow
def test_two_ranks_export_once_and_recommend_what_one_does(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five users on two ranks: three and two."""
    monkeypatch.chdir(tmp_path)
    histories_and_catalogue()
    settings = config(tiny_folder, lora=LORA)
    settings["trainer"].update(max_steps=2, val_check_interval=2, log_every_n_steps=1)
    settings["trainer"]["callbacks"] = [
        {"class_path": "callbacks.AdapterExport"},
        {"class_path": "callbacks.Throughput"},
    ]
    folder = tmp_path / "outputs/run"
    launch(tmp_path, settings, "fit", 2)
    assert float(rows_of(tmp_path)[0]["throughput/tokens_per_second"]) > 0
    made = recommending(settings, folder / "adapter", batch_size=2)
    tables = []
    for devices in (1, 2):
        launch(tmp_path, made, "predict", devices, "--ckpt_path", "best")
        tables.append(pq.read_table(folder / "recommendations.parquet").to_pydict())
    for name in ("user", "items", "titles"):
        assert tables[0][name] == tables[1][name]
    assert len(tables[0]["user"]) == 5
