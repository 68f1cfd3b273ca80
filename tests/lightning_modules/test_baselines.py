"""Baselines: what their networks compute, what they count, and their way through the real command line."""

import csv
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.baselines import LastItem
from lightning_modules.baselines.caser import CaserNetwork
from lightning_modules.baselines.gru4rec import GRU4RecNetwork
from lightning_modules.baselines.sasrec import SASRecNetwork
from lightning_modules.baselines.sequential import SequenceNetwork
from tests.cli import config, run, weights

ITEMS, USERS = 12, 5
HISTORY = torch.tensor([[-1, -1, 3, 1, 4], [2, 7, 1, 8, 2], [-1, -1, -1, -1, 6]])
USER = torch.tensor([0, 4, 2])


def networks() -> dict[str, SequenceNetwork]:
    torch.manual_seed(0)
    made = {
        "gru4rec": GRU4RecNetwork(ITEMS, hidden_size=8, num_layers=2, dropout=0.5),
        "sasrec": SASRecNetwork(ITEMS, hidden_size=8, num_blocks=2, num_heads=2, dropout=0.5, max_history=7),
        "caser": CaserNetwork(
            ITEMS, USERS, length=3, hidden_size=8, num_horizontal=2, num_vertical=3, dropout=0.5
        ),
    }
    nn.init.normal_(made["caser"].users.weight)
    return {name: network.eval() for name, network in made.items()}


@pytest.mark.parametrize("name", ["gru4rec", "sasrec", "caser"])
def test_neither_padding_nor_neighbours_change_a_state(name: str) -> None:
    network = networks()[name]
    together = network(HISTORY, USER)
    wider = network(functional.pad(HISTORY, (2, 0), value=-1), USER)
    torch.testing.assert_close(wider, together, rtol=0, atol=1e-6)
    for row in range(3):
        alone = network(HISTORY[row : row + 1, HISTORY[row] >= 0], USER[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["gru4rec", "sasrec", "caser"])
def test_candidates_are_scored_as_in_the_catalogue(name: str) -> None:
    network = networks()[name]
    nn.init.normal_(network.bias)
    state = network(HISTORY, USER)
    items = torch.tensor([[3, 0], [11, 5], [6, 6]])
    expected = network.catalogue_scores(state).gather(1, items)
    torch.testing.assert_close(network.item_scores(state, items), expected, rtol=0, atol=1e-6)


def test_gru4rec_is_torchs_gru_over_the_items() -> None:
    network = networks()["gru4rec"]
    _, last = network.gru(network.output.weight[[3, 1, 4]][None])
    torch.testing.assert_close(network(HISTORY, USER)[0], last[-1, 0], rtol=0, atol=1e-6)


def test_caser_is_the_papers_equations() -> None:
    """Row 1, L = 3, so the last items are 1, 8, 2; equations 3 to 9 with φ_c = φ_a = relu, one product at a time."""
    network = networks()["caser"]
    image = network.items.weight[[1, 8, 2]]  # E, [L, d]
    horizontal = []
    for height, convolve in enumerate(network.horizontal, start=1):
        for filter_, bias in zip(convolve.weight, convolve.bias, strict=True):  # F, [d, height]
            places = [(image[i : i + height] * filter_.T).sum() + bias for i in range(3 - height + 1)]
            horizontal.append(torch.stack(places).relu().max())
    vertical = [(column[:, None] * image).sum(0) for column in network.vertical.weight]
    # `flatten` runs over the image's columns first.
    features = torch.cat([torch.stack(horizontal), torch.stack(vertical).T.flatten()])
    sequence = (network.dense.weight @ features + network.dense.bias).relu()
    expected = torch.cat([sequence, network.users.weight[4]])
    torch.testing.assert_close(network(HISTORY, USER)[1], expected, rtol=0, atol=1e-5)


def test_sasrec_is_the_papers_equations() -> None:
    """Row 0 with one head per half of the width; section III, the last position alone needs no mask."""
    network = networks()["sasrec"]
    states = network.output.weight[[3, 1, 4]] * 8**0.5 + network.position.weight[[2, 1, 0]]
    for block in network.blocks:
        states = states + _attention(block, functional.layer_norm(states, (8,), *_affine(block.norm1)))
        inner = functional.layer_norm(states, (8,), *_affine(block.norm2))
        states = states + block.linear2(block.linear1(inner).relu())
    expected = functional.layer_norm(states[-1], (8,), *_affine(network.norm))
    torch.testing.assert_close(network(HISTORY, USER)[0], expected, rtol=0, atol=1e-5)


def _affine(norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    return norm.weight, norm.bias


def _attention(block: nn.TransformerEncoderLayer, states: Tensor) -> Tensor:
    attention = block.self_attn
    query, key, value = (states @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        logits = query[:, part] @ key[:, part].T / 4**0.5
        logits = logits.masked_fill(torch.ones(3, 3, dtype=torch.bool).triu(1), -torch.inf)
        heads.append(logits.softmax(dim=1) @ value[:, part])
    return attention.out_proj(torch.cat(heads, dim=1))


def test_a_user_without_a_training_example_has_no_vector() -> None:
    network = CaserNetwork(ITEMS, USERS, 3, 8, 2, 3, dropout=0.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        scores = network.catalogue_scores(network(HISTORY, USER))
        functional.cross_entropy(scores, torch.tensor([1, 2, 3])).backward()
        optimizer.step()
    trained = network.users.weight.abs().sum(dim=1) > 0
    assert trained.tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("name", ["gru4rec", "sasrec", "caser"])
def test_a_network_learns_a_rule_that_needs_two_items(name: str) -> None:
    """Next = last + (last − the one before), modulo 12: one item alone is right in one of three cases."""
    network = networks()[name].train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    first = torch.arange(ITEMS).repeat_interleave(3)
    step = torch.tensor([1, 2, 5]).repeat(ITEMS)
    history = torch.stack([(first + k * step) % ITEMS for k in range(3)], dim=1)
    target, user = (first + 3 * step) % ITEMS, torch.zeros_like(first)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        functional.cross_entropy(network.catalogue_scores(network(history, user)), target).backward()
        optimizer.step()
    found = network.catalogue_scores(network(history, user)).argmax(dim=1)
    assert (found == target).float().mean() > 0.75


def test_last_item_counts_what_followed_and_then_popularity(make_data) -> None:
    data = make_data()
    rule = LastItem()
    rule._trainer = SimpleNamespace(datamodule=data)
    rule.setup("test")
    followed = Counter((row["history"][-1], row["target"]) for row in data.store.splits["train"])
    log = data.store.train_log[1].tolist()
    some = 0
    for batch in data.test_dataloader():
        scores = rule.candidate_scores(batch)
        for history, items, row in zip(batch.history, batch.items, scores, strict=True):
            counts = [followed[int(history[-1]), int(item)] for item in items]
            popular = [log.count(int(item)) / len(log) for item in items]
            assert row.tolist() == pytest.approx(
                [a + b for a, b in zip(counts, popular, strict=True)], abs=1e-6
            )
            some += sum(counts)
    assert some > 0


def _baseline(tiny_folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    settings = config(tiny_folder)
    optimizer = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1.0e-2}}
    init_args = {"optimizer": optimizer, "dropout": 0.3, **changes}
    settings["model"] = {"class_path": f"lightning_modules.baselines.{name}", "init_args": init_args}
    settings["trainer"].update(max_steps=7, val_check_interval=3, callbacks=[])
    settings["data"]["init_args"].update(num_negatives=0, batch_size=120)  # an epoch is 4 steps
    return settings


@pytest.mark.parametrize("name", ["GRU4Rec", "Caser", "SASRec"])
def test_fit_resume_test_predict(
    tiny_folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash lies between two checkpoints (3 and 6); dropout draws random numbers."""
    monkeypatch.chdir(tmp_path)
    settings = _baseline(tiny_folder, name)
    whole = run("fit", "whole", settings)
    settings["trainer"]["callbacks"] = [{"class_path": "tests.cli.Crash", "init_args": {"after_step": 5}}]
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "broken", settings)
    settings["trainer"]["callbacks"] = []
    folder = run("fit", "broken", settings, "--ckpt_path", "last")
    expected, found = (weights(run_ / "checkpoints/last.ckpt") for run_ in (whole, folder))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert (folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()

    run("test", "broken", settings, "--ckpt_path", "best")
    run("predict", "broken", settings, "--ckpt_path", "best")
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    trained = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(trained) == 3
    assert trained[-1] < trained[0]
    assert "logps/positive" not in rows[0]
    ranks = pq.read_table(folder / "predictions.parquet")["rank"].to_pylist()
    assert len(ranks) == 21
    assert abs(sum(1 / rank for rank in ranks) / 21 - float(rows[-1]["test/mrr"])) < 1e-6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 16}, "the checkpoint does not fit the model"),
        ({"max_history": 4}, "the model's max_history is 4: raise the model's or lower the data's"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, changes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = run("fit", "small", _baseline(tiny_folder, "SASRec")) / "checkpoints/last.ckpt"
    arguments = ["--ckpt_path", str(checkpoint)] if "hidden_size" in changes else []
    with pytest.raises(SystemExit) as caught:
        run("test", "other", _baseline(tiny_folder, "SASRec", **changes), *arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
