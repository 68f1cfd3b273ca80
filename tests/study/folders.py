"""Run folders as training leaves them, small."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

USERS = 8
EXAMPLES = 24


def objective(
    base: str = "DMPO", selection: str | None = None, gamma: float = 2.0, alpha: float = 0.5
) -> dict[str, Any]:
    """`selection` "DynamicPO", another selection with constant β, or None: the base alone."""
    plain = {"class_path": f"losses.{base}", "init_args": {"beta": 1.0}}
    if selection is None:
        return plain
    if selection == "DynamicPO":
        settings = {"objective": plain, "gamma": gamma, "alpha": alpha}
        return {"class_path": "losses.DynamicPO", "init_args": settings}
    settings = {
        "objective": plain,
        "selection": {"class_path": f"losses.{selection}", "init_args": {"m": 3}},
        "beta_rule": {"class_path": "losses.ConstantBeta", "init_args": {}},
    }
    return {"class_path": "losses.SelectiveObjective", "init_args": settings}


def configuration(
    goal: dict[str, Any] | None, negatives: int = 3, rate: float = 1e-3, seed: int = 0, **data: Any
) -> dict[str, Any]:
    """A saved configuration; without a goal, of supervised training."""
    own = {"objective": goal} if goal else {"history_weight": 0.3}
    return {
        "seed_everything": seed,
        "trainer": {"max_steps": 40, "log_every_n_steps": 10, "precision": "32-true"},
        "model": {
            "class_path": f"lightning_modules.{'PreferenceModule' if goal else 'SupervisedModule'}",
            "init_args": {
                "language_model": {"class_path": "lightning_modules.SmallLlama", "init_args": {}},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": rate}},
                "init_from": f"outputs/sft-{seed}/checkpoints/best.ckpt",
                **own,
            },
        },
        "data": {
            "class_path": "datamodules.RecommendationDataModule",
            "init_args": {
                "source": {"class_path": "datamodules.sources.MovieLens100k"},
                "num_negatives": negatives,
                "order_seed": seed,
                "candidates": None,
                **data,
            },
        },
    }


def baseline(name: str) -> dict[str, Any]:
    """A rule that counts."""
    settings = configuration(None)
    settings["model"] = {"class_path": f"lightning_modules.baselines.{name}"}
    return settings


def write_run(
    folder: Path,
    config: dict[str, Any],
    ranks: list[int] | None,
    hits: tuple[float, ...] = (0.3, 0.4),
    finished: dict[str, Any] | None = None,
) -> Path:
    """Writes a folder: four lines of training, a validation after the second and the fourth, predictions."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    preference = "objective" in (config["model"].get("init_args") or {})
    lines = ["step,train/loss,val/hit_ratio@1,boundary/stage_3/proportion,reward/win_rate"]
    for line in range(4):
        hit = hits[line // 2] if line % 2 else ""
        lines.append(f"{10 * line + 9},{1 / (line + 1)},{hit},{0.25 if preference and line == 3 else ''},"
                     f"{0.1 * line if preference else ''}")  # fmt: skip
    is_rule = "optimizer" not in (config["model"].get("init_args") or {})
    (folder / "metrics.csv").write_text("\n".join(lines[:1] if is_rule else lines) + "\n")
    if ranks is not None:
        write_predictions(folder / "predictions.parquet", ranks)
    if finished is not None:
        (folder / "finished.json").write_text(json.dumps(finished))
    return folder


def write_predictions(path: Path, ranks: list[int], candidates: int = 20) -> None:
    """Writes predictions; example i is of user i modulo `USERS`."""
    rows = range(len(ranks))
    table = {
        "id": [100 + row for row in rows],
        "user": [f"u{row % USERS}" for row in rows],
        "target": [f"t{row}" for row in rows],
        "rank": ranks,
        "candidates": [[f"t{row}", *(f"c{i}" for i in range(candidates - 1))] for row in rows],
    }
    pq.write_table(pa.table(table), path)


def drawn_ranks(hit_rate: float, seed: int) -> list[int]:
    """Ranks of which about `hit_rate` are 1."""
    rng = np.random.default_rng(seed)
    return [1 if rng.random() < hit_rate else int(rng.integers(2, 21)) for _ in range(EXAMPLES)]
