"""Names claim no more than a configuration says."""

from typing import Any

import pytest

from study.report import names
from study.settings import setting_of
from tests.study.folders import configuration, objective


def selective(selection: str, rule: str = "losses.ConstantBeta", **settings: Any) -> dict[str, Any]:
    """DMPO with any selection and β rule."""
    parts = {
        "objective": objective(),
        "selection": {"class_path": selection, "init_args": settings},
        "beta_rule": {"class_path": rule, "init_args": {}},
    }
    return {"class_path": "losses.SelectiveObjective", "init_args": parts}


OWN_RULE = "mine.Half"


@pytest.mark.parametrize(
    ("goal", "name"),
    [
        (objective(), "DMPO"),
        (objective("SDPO", "DynamicPO"), "DynamicPO on S-DPO"),
        (objective("DMPO", "NearestNegatives"), "DMPO, nearest 3"),
        (selective("losses.RandomNegatives"), "DMPO, random, as many as the paper's rule"),
        (selective("losses.RandomNegatives", m=None), "DMPO, random, as many as the paper's rule"),
        (selective("losses.RandomNegatives", m=3), "DMPO, random 3"),
        (selective("losses.ThreeMeansBoundary"), "DMPO, selection only"),
        (selective("losses.AllNegatives", "losses.DualMarginBeta"), "DMPO, dynamic β only"),
        (selective("losses.HardestNegatives", "losses.DualMarginBeta", m=5), "DMPO, hardest 5, dynamic β"),
        (selective("mine.Plausible"), "DMPO, Plausible"),
        (selective("mine.Plausible", m=4), "DMPO, Plausible 4"),
        (selective("mine.Plausible", OWN_RULE), "DMPO, Plausible, β by Half"),
        (selective("losses.AllNegatives", OWN_RULE), "DMPO, all negatives, β by Half"),
        (selective("losses.ThreeMeansBoundary", OWN_RULE), "DMPO, the paper's selection, β by Half"),
        ({"class_path": "mine.Own", "init_args": {"objective": objective(), "gamma": 1.0}}, "Own"),
        ({"class_path": "mine.Other", "init_args": {"weight": 2.0}}, "Other"),
    ],
)
def test_a_method_is_named_by_what_is_known_of_it(goal: dict[str, Any], name: str) -> None:
    assert names.method(setting_of(configuration(goal))) == name


def test_data_without_candidates_are_not_called_re_drawn() -> None:
    config = configuration(objective())
    assert names.data(setting_of(config)) == "MovieLens100k, candidates re-drawn"
    config["data"] = {
        "class_path": "datamodules.PreferencePairsDataModule",
        "init_args": {"train": "pairs.jsonl", "num_negatives": 3},
    }
    assert names.data(setting_of(config)) == "PreferencePairsDataModule"
