"""A small data set in RecBole's format, made here so that no test needs the network."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb

from datamodules import RecommendationDataModule
from datamodules.sources import RecBoleSource

TINY_USERS, TINY_ITEMS, TINY_INTERACTIONS = 40, 60, 900

HOSTILE_TITLES = ["Usual Suspects, The", "a :: b", "</s> <s>", "{history} {candidates}", "Ünïcode – 映画 🎬"]

torch.set_num_threads(1)


def write_atomic(folder: Path, name: str, rows: list[tuple[str, str, float]], titles: dict[str, str]) -> Path:
    """Writes NAME.inter and NAME.item."""
    folder.mkdir(parents=True, exist_ok=True)
    inter = ["user_id:token\titem_id:token\ttimestamp:float", *(f"{u}\t{i}\t{t}" for u, i, t in rows)]
    items = ["item_id:token\ttitle:token_seq", *(f"{i}\t{title}" for i, title in titles.items())]
    (folder / f"{name}.inter").write_text("\n".join(inter) + "\n", encoding="utf-8")
    (folder / f"{name}.item").write_text("\n".join(items) + "\n", encoding="utf-8")
    return folder


def tiny_titles() -> dict[str, str]:
    words = ["Red", "Blue", "River", "House", "Moon", "Day", "Night", "Road"]
    names = [f"{words[i % 8]} {words[(i // 8) % 8]} {i}" for i in range(TINY_ITEMS)]
    return {f"i{n}": title for n, title in enumerate([*HOSTILE_TITLES, *names][:TINY_ITEMS])}


def write_tiny(folder: Path) -> Path:
    """40 users, 60 films, 900 ratings at 300 moments."""
    rng = np.random.default_rng(0)
    users = rng.integers(TINY_USERS, size=TINY_INTERACTIONS)
    items = rng.integers(TINY_ITEMS, size=TINY_INTERACTIONS)
    times = rng.integers(300, size=TINY_INTERACTIONS)  # many ties
    rows = [(f"u{u}", f"i{i}", float(t)) for u, i, t in zip(users, items, times, strict=True)]
    return write_atomic(folder, "tiny", rows, tiny_titles())


@pytest.fixture(autouse=True)
def _no_service_of_wandb_is_left() -> Iterator[None]:
    """W&B's service is told to child processes in an environment variable: the next test would share it."""
    yield
    if "WANDB_SERVICE" in os.environ:
        wandb.teardown()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture
def make_data(tiny_folder: Path, tmp_path: Path):
    """Makes a data module on the small data set, ready to use."""

    def make(**settings) -> RecommendationDataModule:
        settings = {
            "batch_size": 4,
            "eval_batch_size": 8,
            "num_candidates": 8,
            "cache_dir": str(tmp_path),
            **settings,
        }
        data = RecommendationDataModule(RecBoleSource(str(tiny_folder)), **settings)
        data.prepare_data()
        data.setup("fit")
        return data

    return make
