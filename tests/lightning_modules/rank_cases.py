"""Short trainings of every kind, which one process and two must end with the same weights.

Two processes go through all of them together: `python -m tests.lightning_modules.rank_cases FOLDER quick` forks them,
each with the environment that Lightning gives the processes it starts.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from callbacks import BoundaryProportion, MetricsCSV, TrainingMetrics, WholeSteps
from datamodules import PreferencePairsDataModule, RecommendationDataModule
from datamodules.base import StoredDataModule
from datamodules.sources import PreferenceFiles, RecBoleSource
from lightning_modules import LoRA, PreferenceModule, SmallLlama, SupervisedModule
from lightning_modules.checkpoints import trained_state
from losses import DMPO, DPO, MPPO, SDPO, DynamicPO
from losses.objective import Objective
from tests.conftest import write_tiny
from tests.faults.runs import fork, free_port, wait

STEPS, GLOBAL_BATCH = 20, 16

OBJECTIVES: dict[str, Callable[[], Objective] | None] = {
    "sft": None,
    "dpo": DPO,
    "dmpo": DMPO,
    "sdpo": SDPO,
    "mppo": partial(MPPO, length_normalized=True),
    "dynamicpo_dmpo": lambda: DynamicPO(DMPO()),
    "dynamicpo_sdpo": lambda: DynamicPO(SDPO()),
    "dynamicpo_mppo": lambda: DynamicPO(MPPO(length_normalized=True)),
}


@dataclass(frozen=True)
class Case:
    """A training; with two processes, `accumulated` batches of each make a step, with one there is a single batch."""

    objective: str
    lora: bool = False
    accumulated: int = 1
    checkpointing: bool = False
    rows: str = "films"
    global_batch: int = GLOBAL_BATCH

    @property
    def name(self) -> str:
        return "-".join(str(value) for value in vars(self).values())


def cases(which: str) -> list[Case]:
    """`quick`: every objective with everything at once; `all`: with one thing at a time."""
    quick = [Case(name, True, 2, True, "ragged") for name in OBJECTIVES]
    quick += [Case("sft"), Case("dynamicpo_dmpo", accumulated=2)]
    quick += [Case("dynamicpo_sdpo", rows="lopsided", global_batch=8)]
    plain = [Case(name) for name in OBJECTIVES]
    single = [{"lora": True}, {"accumulated": 4}, {"checkpointing": True}, {"rows": "ragged"}]
    one_by_one = [replace(case, **change) for change in single for case in plain]  # type: ignore[arg-type]
    return quick if which == "quick" else [*plain, *one_by_one]


def write_rows(folder: Path) -> None:
    """What the cases train on."""
    write_tiny(folder / "films")
    words = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew"]

    def text(start: int, length: int) -> str:
        return " ".join(words[(start * 7 + i * (1 + start % 4)) % 12] for i in range(length))

    ragged = [
        {
            "prompt": text(n, 3 + n % 9),
            "chosen": text(n + 1, 1 + n % 4),
            "rejected": [text(n + 2 + k, 1 + (n + 3 * k) % 5) for k in range(1 + n % 5)],
        }
        for n in range(45)
    ]
    # Under random weights a long response is the less likely one. The sampler gives the short rows to the first rank:
    # all of its negatives violate, and none of the second one's.
    short = [
        {"prompt": "a", "chosen": text(n, 4), "rejected": [text(n + k, 1) for k in (1, 2)]} for n in range(4)
    ]
    long = [
        {"prompt": "a", "chosen": text(n, 1), "rejected": [text(n + k, 6) for k in (1, 2)]} for n in range(4)
    ]
    for name, rows in (("ragged", ragged), ("lopsided", [*short, *long])):
        for split, part in (("train", rows), ("val", rows[:2])):
            (folder / f"{name}-{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))


def data_of(case: Case, folder: Path, processes: int) -> StoredDataModule:
    accumulated = 1 if processes == 1 else case.accumulated
    settings: dict[str, Any] = {
        "num_negatives": {"sft": 0, "dpo": 1}.get(case.objective, 5),
        "batch_size": case.global_batch // processes // accumulated,
        "global_batch_size": case.global_batch,
        "cache_dir": str(folder / "cache"),
    }
    if case.rows == "films":
        source = RecBoleSource(str(folder / "films"), name="tiny")
        return RecommendationDataModule(source, num_candidates=8, **settings)
    files = (str(folder / f"{case.rows}-{split}.jsonl") for split in ("train", "val"))
    return PreferencePairsDataModule(PreferenceFiles(*files), **settings)


def module_of(case: Case) -> SupervisedModule | PreferenceModule:
    model = SmallLlama(hidden_size=32, num_hidden_layers=1)
    # Adam divides by the root of tiny squares and would blow rounding up. MPPO compares probabilities, which are small.
    settings: dict[str, Any] = {
        "optimizer": partial(torch.optim.SGD, lr=5.0 if "mppo" in case.objective else 0.05),
        "lora": LoRA(rank=2, dropout=0.0) if case.lora else None,
        "gradient_checkpointing": case.checkpointing,
    }
    objective = OBJECTIVES[case.objective]
    if objective is None:
        return SupervisedModule(model, history_weight=0.3 if case.rows == "films" else 0.0, **settings)
    return PreferenceModule(model, objective(), **settings)


class Start(pl.Callback):
    """Remembers what training starts from."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.weights = {name: weight.clone() for name, weight in trained_state(pl_module).items()}


def train(case: Case, folder: Path, processes: int) -> None:
    """Leaves the weights of every process, `RANK.pt`, and the metrics in `FOLDER/PROCESSES/CASE`."""
    pl.seed_everything(0, verbose=False)
    own, start = folder / str(processes) / case.name, Start()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        precision="64-true",
        max_steps=STEPS,
        max_epochs=-1,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        log_every_n_steps=5,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=MetricsCSV(str(own)),
        callbacks=[WholeSteps(), TrainingMetrics(), BoundaryProportion(), start],
    )
    module = module_of(case)
    trainer.fit(module, data_of(case, folder, processes))
    own.mkdir(parents=True, exist_ok=True)
    torch.save({"start": start.weights, "end": trained_state(module)}, own / f"{trainer.global_rank}.pt")


def train_as(rank: int, port: int, folder: Path, which: str) -> None:
    """Goes through all cases as one of two processes."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "NODE_RANK": "0",
        "LOCAL_RANK": str(rank),
    }
    rank_zero_only.rank = rank
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for case in cases(which):
        train(case, folder, processes=2)


def main(folder: Path, which: str) -> int:
    """Trains on two processes; returns how many of them failed."""
    port = free_port()
    ranks = [fork(partial(train_as, rank, port, folder, which)) for rank in range(2)]
    ended = wait(ranks, alone=True)
    return sum(status != 0 for status in ended.statuses)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
