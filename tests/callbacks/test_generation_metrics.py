"""Evaluation by generation: what is counted, by hand and through the real command line."""

import csv
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks import GenerationMetrics
from callbacks.generation_metrics import judge
from datamodules import Batch, RecommendationDataModule, pack
from datamodules.tokenization import PieceEncoder, learn_tokenizer
from tests.cli import config, run, supervised
from tests.lightning_modules.test_ddp import launch

NAMES = ("valid_ratio", "generated_hit_ratio@1", "generated_hit_ratio@1_valid", "constrained_hit_ratio@1")


def test_judged_by_hand() -> None:
    """The candidates are Hole, Hole in the Sky and </s> everywhere; what counts is the longest match."""
    titles = ["Hole", "Hole in the Sky", "</s>"]
    cases = [
        ("Hole in the Sky", 1, True, True),
        ("Hole in the Sky", 0, True, False),
        ("Hole", 0, True, True),
        ("Hole and Hole in the Sky", 1, False, False),
        ("Heat", 0, False, False),
        ("", 0, False, False),
        ("</s>", 2, True, True),
    ]
    tokenizer = learn_tokenizer([f" {text}" for text, *_ in cases] + [f" {title}" for title in titles])
    encoder = PieceEncoder(tokenizer)
    answers = [tokens.tolist() for tokens in encoder.responses([text for text, *_ in cases])]
    width = max(map(len, answers)) + 2
    padded = torch.tensor([row + [encoder.eos] * (width - len(row)) for row in answers])
    prompt = np.array([5], dtype=np.int32)
    packed = pack([prompt] * len(cases), [encoder.responses(titles)] * len(cases))
    nothing = torch.zeros(len(cases), dtype=torch.long)
    positive = torch.tensor([column for _, column, *_ in cases])
    batch = Batch(packed, nothing, nothing, nothing, positive, nothing, nothing)
    valid, hit = judge(padded, batch, tokenizer)
    assert valid.tolist() == [case[2] for case in cases]
    assert hit.tolist() == [case[3] for case in cases]
    # What follows EOS is not read, and an answer may be cut off before any.
    padded[0, len(answers[0]) :] = answers[2][0]
    assert judge(padded, batch, tokenizer)[0][0]
    assert judge(padded[:, :1], batch, tokenizer)[1].tolist()[:3] == [False, True, True]


class Scripted(pl.LightningModule):
    """Answers, in turn: the target; another candidate; no candidate; the target and another one."""

    def __init__(self, data: RecommendationDataModule) -> None:
        super().__init__()
        self.encoder = PieceEncoder(data.tokenizer)
        self.titles = data.store.titles
        self.answered = 0
        self.longest: list[int] = []

    def test_step(self, batch: Batch, batch_idx: int) -> None: ...

    def validation_step(self, batch: Batch, batch_idx: int) -> None: ...

    def generate(self, batch: Batch, max_new_tokens: int) -> Tensor:
        self.longest.append(max_new_tokens)
        texts = []
        for items, positive in zip(batch.items.tolist(), batch.positive.tolist(), strict=True):
            target, other = self.titles[items[positive]], self.titles[items[positive - 1]]
            texts.append([target, other, "Heat", f"{target}\n{other}"][self.answered % 4])
            self.answered += 1
        rows = self.encoder.responses(texts)
        return torch.tensor([[*row, *[self.encoder.eos] * (64 - len(row))] for row in rows])

    def choose(self, batch: Batch) -> Tensor:
        return torch.where(batch.id % 2 == 0, batch.positive, batch.positive - 1)


def test_counts_over_all_examples_and_over_valid_ones(make_data) -> None:
    """21 examples: 6 name the target, 5 another, 5 none, 5 two; so 11 are valid."""
    data = make_data(max_test_examples=21)
    module = Scripted(data)
    trainer = pl.Trainer(
        logger=False, accelerator="cpu", callbacks=[GenerationMetrics()], enable_progress_bar=False
    )
    (metrics,) = trainer.test(module, data, verbose=False)
    ids = np.array(data.store.splits["test"]["id"])
    expected = [11 / 21, 6 / 21, 6 / 11, float((ids % 2 == 0).mean())]
    assert [metrics[f"test/{name}"] for name in NAMES] == pytest.approx(expected, abs=1e-6)
    assert set(module.longest) == {64}


def test_validation_generates_only_when_asked(make_data) -> None:
    data = make_data(max_val_examples=8)
    for callback, logged in ((GenerationMetrics(), set()), (GenerationMetrics(validation=True), set(NAMES))):
        trainer = pl.Trainer(logger=False, accelerator="cpu", callbacks=[callback], enable_progress_bar=False)
        (metrics,) = trainer.validate(Scripted(data), data, verbose=False)
        assert {name.removeprefix("val/") for name in metrics} == logged


def test_where_nothing_is_valid_there_is_no_share_of_valid_answers(make_data) -> None:
    data = make_data(max_test_examples=4)
    module = Scripted(data)
    module.titles = ["Heat"] * len(module.titles)
    trainer = pl.Trainer(
        logger=False, accelerator="cpu", callbacks=[GenerationMetrics()], enable_progress_bar=False
    )
    (metrics,) = trainer.test(module, data, verbose=False)
    assert metrics["test/valid_ratio"] == 0
    assert metrics["test/generated_hit_ratio@1"] == 0
    assert "test/generated_hit_ratio@1_valid" not in metrics


CALLBACK = "--trainer.callbacks+=callbacks.GenerationMetrics"


def _tested(folder: Path) -> dict[str, float]:
    with (folder / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    return {name: float(value) for name, value in last.items() if name.startswith("test/") and value}


def test_the_command_line(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of 21 and batches of 2 agree; test without the callback logs the ranking metrics alone."""
    monkeypatch.chdir(tmp_path)
    settings = supervised(tiny_folder)
    settings["trainer"].update(max_steps=200, val_check_interval=200)
    settings["data"]["init_args"] |= {"batch_size": 16, "title_tokens": True}
    folder = run("fit", "sft", settings)
    run("test", "sft", settings, "--ckpt_path", "last")
    plain = _tested(folder)
    run("test", "sft", settings, "--ckpt_path", "last", CALLBACK)
    together = _tested(folder)
    settings["data"]["init_args"]["eval_batch_size"] = 2
    run("test", "sft", settings, "--ckpt_path", "last", CALLBACK)

    assert together == pytest.approx(_tested(folder), abs=1e-6)
    assert together.keys() - plain.keys() >= {f"test/{name}" for name in NAMES if not name.endswith("_valid")}
    assert plain.items() <= together.items()
    valid, hit = together["test/valid_ratio"], together["test/generated_hit_ratio@1"]
    assert valid > 0
    assert hit == pytest.approx(together["test/generated_hit_ratio@1_valid"] * valid, abs=1e-6)


def test_what_writes_no_text_is_one_line(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder)
    settings["model"] = {"class_path": "lightning_modules.baselines.Popularity"}
    with pytest.raises(SystemExit) as caught:
        run("test", "rule", settings, CALLBACK)
    assert caught.value.code == 2
    assert (
        "error: GenerationMetrics needs a language model and Popularity writes no text"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_two_processes_count_every_example_once(tiny_folder: Path, tmp_path: Path) -> None:
    """21 examples are 11 and 10 per rank: a mean of the ranks' means would differ."""
    settings = config(tiny_folder)
    settings["trainer"]["callbacks"] = [{"class_path": "callbacks.GenerationMetrics"}]
    launch(tmp_path, settings, "fit", 1)
    found = []
    for devices in (1, 2):
        launch(tmp_path, settings, "test", devices, "--ckpt_path", "last")
        found.append(_tested(tmp_path / "outputs/run"))
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    assert found[0].keys() >= {
        "test/valid_ratio",
        "test/generated_hit_ratio@1",
        "test/constrained_hit_ratio@1",
    }
