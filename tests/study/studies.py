"""A small study in folders: every kind of run that the report has a section for."""

from pathlib import Path

from tests.study.folders import baseline, configuration, drawn_ranks, objective, write_run

NOTES = {"seconds": 12.0, "commit": "0a1b2c3", "command": "python train.py fit"}
SEEDS = (0, 1)


def write_study(root: Path) -> Path:
    """Two base objectives at two K, DynamicPO on them, a control, γ, a second rate, rules, and two candidate lists."""
    write_run(root / "popularity", baseline("Popularity"), drawn_ranks(0.3, 99), finished=NOTES)
    for seed in SEEDS:
        goals = {
            "dmpo": objective(),
            "sdpo": objective("SDPO"),
            "dynamicpo": objective("DMPO", "DynamicPO"),
            "dynamicpo-sdpo": objective("SDPO", "DynamicPO"),
        }
        for place, (name, goal) in enumerate(goals.items()):
            for negatives in (3, 15):
                ranks = drawn_ranks(0.4 + 0.1 * (place > 1), 10 * place + seed + negatives)
                config = configuration(goal, negatives, seed=seed)
                write_run(root / f"{name}-{negatives}-{seed}", config, ranks, finished=NOTES)
        more = {
            "nearest": configuration(objective("DMPO", "NearestNegatives"), 15, seed=seed),
            "gamma": configuration(objective("DMPO", "DynamicPO", gamma=6.0), 15, seed=seed),
            "sft": configuration(None, 0, seed=seed),
            "published": configuration(
                None, 0, seed=seed, candidates={"class_path": "datamodules.candidates.AsGiven"}
            ),
        }
        for place, (name, config) in enumerate(more.items()):
            ranks = drawn_ranks(0.45, 100 + 10 * place + seed)
            write_run(root / f"{name}-{seed}", config, ranks, finished=NOTES)
    write_run(root / "rate", configuration(objective(), 15, rate=3e-3), None, hits=(0.2, 0.1))
    return root
