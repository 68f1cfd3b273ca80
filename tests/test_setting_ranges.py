"""Every setting that a config can name is fed values out of its range: it is refused in one line that names it.

What passes is listed with the reason why it may, so that a new setting without a check fails here.
"""

import copy
import inspect
import math
import re
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import callbacks
import datamodules
import lightning_modules
import losses
from datamodules import candidates, filters, sources
from datamodules.errors import InputError
from lightning_modules import baselines
from lightning_modules.idle_settings import require_effective
from lightning_modules.language_model import LanguageModel
from lightning_modules.setting_types import members
from lightning_modules.wandb_settings import WandbSettings
from tests.lightning_modules.test_idle_settings import BEST

PACKAGES = (callbacks, datamodules, sources, lightning_modules, baselines, losses)
MODULES = (candidates, filters)  # whose classes are named by their full path

MANY = 2**31
VALUES: dict[Any, tuple[Any, ...]] = {
    int: (-1, 0, MANY),
    float: (-1.0, math.nan, math.inf),
    str: ("", "nonsense"),
    list: ([], [""]),
    dict: ({},),
    timedelta: (timedelta(0), timedelta(seconds=-1)),
}
EXAMPLES = {  # what a setting without a default is given
    int: 1,
    float: 1.0,
    str: "0" * 40,  # a revision must be a commit
    dict[str, str]: {"file": "0" * 64},
    losses.Objective: losses.DMPO(),
    losses.Selection: losses.AllNegatives(),
    losses.BetaRule: losses.ConstantBeta(),
    LanguageModel: lightning_modules.SmallLlama(),
    sources.Source: sources.RecBoleSource("path"),
    sources.PreferenceFiles: sources.PreferenceFiles("path"),
    torch.optim.Optimizer: torch.optim.SGD([torch.zeros(1)]),
    lightning_modules.trained.OptimizerFactory: torch.optim.SGD,
}

# Values that pass, by the names of settings.
PASSES = {
    "A path is read when the command starts, which says what is missing there.": {
        "nonsense": "path train val test histories catalogue trained folder cache_dir dirpath default_root_dir "
        "init_from policy_from reference_cache tokenizer name repo_id revision",
    },
    "A column is looked for when the table is read, which lists those that there are.": {
        "nonsense": "user_field item_field time_field title_field rating_field",
    },
    "The command line gives them the run's folder.": {"": "folder dirpath default_root_dir"},
    "Any word is what the items are called.": {"nonsense": "noun"},
    "W&B takes any name, and an empty one is none.": {"": "project name", "nonsense": "project"},
    "`require_effective` checks them where the run is known.": {
        "": "filename monitor", "nonsense": "filename monitor", -1: "save_top_k", 0: "save_top_k",
        timedelta(0): "train_time_interval", timedelta(seconds=-1): "train_time_interval",
    },
    "0 means none, or the main process.": {
        0: "every_n_train_steps every_n_epochs num_workers num_negatives warmup_steps fast_dev_run "
        "limit_train_batches limit_val_batches limit_test_batches limit_predict_batches overfit_batches "
        "num_sanity_val_steps gradient_clip_val reload_dataloaders_every_n_epochs min_epochs min_steps",
    },
    "-1 means no limit, and a minimum below 0 is none.": {
        -1: "max_epochs max_steps num_sanity_val_steps min_epochs min_steps",
    },
    "`require_modes` refuses them for the commands that would do nothing.": {0: "max_epochs max_steps"},
    "Any whole number is a seed of the data.": {-1: "seed order_seed", 0: "seed order_seed"},
    "Any finite number: a rating may be negative, rare items may be preferred, margins may be lowered.": {
        -1.0: "threshold power gamma",
    },
    "No gradient is longer than infinity: nothing is clipped.": {math.inf: "gradient_clip_val"},
    "None of them.": {[].__repr__(): "filters callbacks plugins"},
    "Lightning's model registry is not used.": {"": "model_registry", "nonsense": "model_registry"},
}  # fmt: skip
ALIASES = {"max_time": "Timer", "plugins": "plugin", "templates": "template"}


def reason_to_pass(name: str, value: Any) -> str | None:
    if value == MANY and isinstance(value, int):
        return "A count has no upper bound: where there is less, all of it is taken."
    key = repr(value) if isinstance(value, list) else value
    for reason, passing in PASSES.items():
        if any(
            type(other) is type(key) and other == key and name in names.split()
            for other, names in passing.items()
        ):
            return reason
    return None


def configurable() -> Iterator[type]:
    """The classes that a config can name, without results of computations."""
    for package in PACKAGES:
        yield from filter(is_configurable, (getattr(package, name) for name in package.__all__))
    for module in MODULES:
        yield from filter(is_configurable, own(module))
    yield WandbSettings


def own(module: ModuleType) -> list[Any]:
    return [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]


def is_configurable(value: Any) -> bool:
    if not inspect.isclass(value) or inspect.isabstract(value) or issubclass(value, (Exception, tuple, dict)):
        return False
    return torch.Tensor not in settings(value).values()


def settings(cls: type) -> dict[str, Any]:
    """The settings of a class, with their types."""
    hints = get_type_hints(cls.__init__)
    named = inspect.signature(cls).parameters.values()
    return {
        each.name: hints[each.name]
        for each in named
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }


def out_of_range(hint: Any) -> Iterator[Any]:
    """Values of a type that are out of most ranges; a `Literal` and a class are checked by the parser."""
    for member in members(hint):
        for value in VALUES.get(get_origin(member) or member, ()):
            if value != [""] or str in get_args(member):
                yield copy.copy(value)


def required(cls: type) -> dict[str, Any]:
    """Valid values for what has no default."""
    named = inspect.signature(cls).parameters
    hints = settings(cls).items()
    return {name: EXAMPLES[hint] for name, hint in hints if named[name].default is inspect.Parameter.empty}


def complaint(make: Any, name: str, value: Any) -> str | None:
    """Says what is wrong with how a value is answered."""
    try:
        make(**{name: value})
    except (ValueError, InputError, MisconfigurationException) as error:
        named = re.search(rf"\b({name}|{ALIASES.get(name, name)})\b", str(error))
        return None if named and "\n" not in str(error) else f"does not name it in one line: {error}"
    except Exception as error:
        return f"would end in a traceback: {error!r}"
    return (
        None if reason_to_pass(name, value) else "passes: check it in the constructor, or say here why it may"
    )


CLASSES = list(configurable())


def test_all_packages_are_walked() -> None:
    names = {cls.__name__ for cls in CLASSES}
    assert {"DMPO", "CollapseAlarm", "SmallLlama", "SASRec", "TableSource", "KCore", "WandbSettings"} <= names
    assert "Batch" not in names
    assert len(names) > 50


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_refuses_what_is_out_of_range(cls: type) -> None:
    cases = [(name, value) for name, hint in settings(cls).items() for value in out_of_range(hint)]
    answers = {
        f"{name}={value!r}": complaint(lambda **given: cls(**{**required(cls), **given}), name, value)
        for name, value in cases
    }
    assert {case: answer for case, answer in answers.items() if answer} == {}


def test_the_trainer_refuses_what_is_out_of_range() -> None:
    """Its settings are Lightning's: what Lightning lets pass is refused before it is made."""
    defaults = {name: each.default for name, each in inspect.signature(Trainer).parameters.items()}
    defaults |= {"use_distributed_sampler": False, "accelerator": "cpu", "logger": False}

    def make(**given: Any) -> None:
        require_effective({**defaults, **given}, BEST)
        Trainer(**{**defaults, **given})

    answers = {
        f"{name}={value!r}": complaint(make, name, value)
        for name, hint in get_type_hints(Trainer.__init__).items()
        for value in out_of_range(hint)
        # Lightning counts devices in a list. The command line names the setting of an error of the trainer's own.
        if name not in ("devices", "num_nodes")
    }
    assert {case: answer for case, answer in answers.items() if answer} == {}


def test_what_may_pass_is_there() -> None:
    """A setting that is gone leaves the list."""
    known = {name for cls in CLASSES for name in settings(cls)} | set(get_type_hints(Trainer.__init__))
    listed = {name for passing in PASSES.values() for names in passing.values() for name in names.split()}
    assert listed - known == set()
