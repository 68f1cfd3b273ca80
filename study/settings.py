"""What a run was, from the `config.yaml` in its folder."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamodules.errors import InputError

# Where things lie and how fast they go decides no result, and a cell's runs differ in the seed alone.
_DATA_FREE = ("num_negatives", "order_seed", "cache_dir", "num_workers", "eval_batch_size")
_MODEL_FREE = ("objective", "optimizer", "init_from", "reference_cache", "gradient_checkpointing")
_TRAINER_COUNTS = (
    "max_steps",
    "max_epochs",
    "max_time",
    "precision",
    "gradient_clip_val",
    "accumulate_grad_batches",
    "val_check_interval",
)


@dataclass(frozen=True)
class Setting:
    """Everything that decides a run's result but its seed.

    Attributes:
        stage: `baseline`, `supervised` or `preference`.
        model: Class of the language model, or of the baseline.
        objective: Class of the base objective; empty outside the preference stage.
        selection: Class of the selection; empty outside the preference stage.
        beta_rule: Class of the β rule; empty outside the preference stage.
        negatives: K.
        m: Negatives that a control selects; None where its selection has no such setting or leaves it out.
        learning_rate: Of the optimiser; None for what is not trained.
        beta: The objective's β.
        gamma: Of the dual-margin β.
        alpha: Of the dual-margin β.
        data: Class of the source and the folder of its files, or class of the data module where it has none.
        candidates: Class of the candidates; empty for data without any, such as preference pairs.
        rest: Fingerprint of every other setting that decides the result.
    """

    stage: str
    model: str
    objective: str
    selection: str
    beta_rule: str
    negatives: int
    m: int | None
    learning_rate: float | None
    beta: float | None
    gamma: float | None
    alpha: float | None
    data: str
    candidates: str
    rest: str


def setting_of(config: Mapping[str, Any]) -> Setting:
    """Reads a run's configuration.

    Args:
        config: As `train.py` saves it, every default written out.

    Raises:
        InputError: A part that every configuration has is missing.
    """
    try:
        return _setting(config)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"config.yaml is none that `train.py` wrote ({error}): run it again") from error


def _setting(config: Mapping[str, Any]) -> Setting:
    model, data = config["model"], config["data"]["init_args"]
    settings = model.get("init_args") or {}
    language_model, objective = settings.get("language_model"), settings.get("objective")
    source = data.get("source")
    return Setting(
        stage="preference" if objective else "supervised" if language_model else "baseline",
        model=_class(language_model or model),
        **_objective(objective),
        negatives=data.get("num_negatives") or 0,
        learning_rate=_number(settings.get("optimizer"), "lr"),
        data=_data(source or config["data"]),
        candidates=_class(data["candidates"]) or "Redrawn" if "candidates" in data else "",
        rest=_rest(config, settings, data),
    )


def _objective(node: Any) -> dict[str, Any]:
    """Read the objective's parts: `DynamicPO` is a selection and a β rule on its base.

    Another class that holds an objective is an objective of its own: what it selects is not known here.
    """
    if node is None:
        nothing = dict.fromkeys(("m", "beta", "gamma", "alpha"))
        return {"objective": "", "selection": "", "beta_rule": "", **nothing}
    settings = node["init_args"]
    selection: Any = "AllNegatives"
    rule: Any = "ConstantBeta"
    base = node
    dynamic = _class(node) == "DynamicPO"
    if dynamic or "selection" in settings:
        base = settings["objective"]
        selection = "ThreeMeansBoundary" if dynamic else settings["selection"]
        rule = {"class_path": "DualMarginBeta", "init_args": settings} if dynamic else settings["beta_rule"]
    averaged = (base.get("init_args") or {}).get("length_normalized")
    return {
        "objective": _class(base) + (", mean" if averaged else ""),
        "selection": _class(selection),
        "beta_rule": _class(rule),
        "m": _number(selection, "m"),
        "beta": _number(base, "beta"),
        "gamma": _number(rule, "gamma"),
        "alpha": _number(rule, "alpha"),
    }


def _data(node: Any) -> str:
    """Sources of one class differ in where their files lie."""
    settings = (node.get("init_args") or {}) if isinstance(node, Mapping) else {}
    folder = Path(settings.get("path") or Path(settings.get("test") or "").parent).name
    return f"{_class(node)} {folder}".strip()


def _class(node: Any) -> str:
    path = node.get("class_path", "") if isinstance(node, Mapping) else node or ""
    return str(path).rpartition(".")[2]


def _number(node: Any, name: str) -> Any:
    value = (node.get("init_args") or {}).get(name) if isinstance(node, Mapping) else None
    if not isinstance(value, int | float | None):
        raise TypeError(f"{name} is {value!r}")
    return value


def _rest(config: Mapping[str, Any], model: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    optimizer = model.get("optimizer") or {}
    rest = {
        "model": {name: value for name, value in model.items() if name not in _MODEL_FREE},
        "optimizer": {**(optimizer.get("init_args") or {}), "class_path": _class(optimizer), "lr": None},
        "data": {name: value for name, value in data.items() if name not in _DATA_FREE},
        "trainer": {name: config["trainer"].get(name) for name in _TRAINER_COUNTS},
    }
    return hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode()).hexdigest()[:8]
