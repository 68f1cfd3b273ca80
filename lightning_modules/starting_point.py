"""Where preference training starts: a checkpoint of stage 1, or a PEFT adapter that was trained elsewhere."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from datamodules.base import StoredDataModule
from datamodules.errors import InputError
from lightning_modules.checkpoint_files import read_foreign
from lightning_modules.checkpoints import (
    read_checkpoint,
    require_same_model,
    require_same_tokens,
    require_same_weights,
)
from lightning_modules.hand_over import base_of
from lightning_modules.language_model import POLICY, Identity, LoRA
from lightning_modules.recommender import LanguageModelRecommender

_CONFIG = "adapter_config.json"

# What PEFT can add to LoRA and `LoRA` has not; an adapter that uses one of them would be another model here.
_PLAIN = {
    "bias": "none", "use_dora": False, "use_rslora": False, "fan_in_fan_out": False, "modules_to_save": None,
    "rank_pattern": {}, "alpha_pattern": {}, "layers_to_transform": None, "trainable_token_indices": None,
}  # fmt: skip


def starting_state(module: LanguageModelRecommender, identity: Identity, path: str) -> dict[str, Tensor]:
    """Reads the trained weights that a module starts from.

    Args:
        module: The module, its policy built.
        identity: Which model that is.
        path: A checkpoint, or the folder of an adapter.

    Returns:
        All trained weights, named as in the module.

    Raises:
        InputError: They are missing, broken, of another model, or trained with another tokenizer.
    """
    if Path(path).is_dir():
        return _adapter_state(module, Path(path))
    checkpoint = read_checkpoint(path)
    data = module.trainer.datamodule
    if isinstance(data, StoredDataModule):
        require_same_tokens(checkpoint.get("data"), data.record, path)
    require_same_model(checkpoint.get("language_model", {}), identity, path)
    require_same_weights(module, checkpoint["state_dict"], path)
    return checkpoint["state_dict"]


def _adapter_state(module: LanguageModelRecommender, folder: Path) -> dict[str, Tensor]:
    if not (folder / _CONFIG).is_file():
        raise InputError(f"{folder} holds no readable {_CONFIG}: {_other_way(folder)}")
    if module.lora is None:
        raise InputError(f"{folder} is an adapter and the model has none: set model.init_args.lora")
    settings = _settings(folder)
    _require_same_base(settings.get("base_model_name_or_path") or "", base_of(module.policy) or "", folder)
    require_same_model(_identity(settings), _wanted(module.lora), str(folder))
    state = {_name_here(name): value for name, value in _weights(folder).items()}
    require_same_weights(module, state, str(folder))
    return state


def _other_way(folder: Path) -> str:
    """Say what to do with a folder that holds no adapter."""
    if (folder / "config.json").is_file():
        return (
            "it is a whole model: name it as model.language_model, class lightning_modules.PretrainedLM, and leave "
            "this setting out"
        )
    if found := sorted([*folder.glob("*.ckpt"), *folder.glob("checkpoints/*.ckpt")]):
        return f"it is a run without a best checkpoint: give a file, such as {found[0]}"
    return "give a checkpoint, the folder of a run, or the folder of a PEFT adapter"


def _name_here(name: str) -> str:
    """Adds the adapter's name, which PEFT leaves out of its file; embeddings are adapted by bare parameters."""
    layer = name.removesuffix(".weight")
    return f"policy.{layer}.{POLICY}{'' if layer == name else '.weight'}"


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no readable {_CONFIG} ({error}): give a checkpoint or the folder of a PEFT adapter"
        ) from error
    return settings


def _require_same_base(there: str, here: str, folder: Path) -> None:
    """Compares names; a model is the same under the paths of two machines if their last parts agree."""
    both_here = Path(there).is_dir() and Path(here).is_dir()
    same = (
        Path(there).resolve() == Path(here).resolve()
        if both_here
        else Path(there).name.casefold() == Path(here).name.casefold()
    )
    if not (there and here and same):
        raise InputError(
            f"{folder} is an adapter for base {there!r} and the language model is {here!r}: load that base, or mend "
            f"base_model_name_or_path in {_CONFIG} if they are the same"
        )


def _identity(settings: dict[str, Any]) -> Identity:
    targets = settings.get("target_modules")
    return {
        "peft_type": settings.get("peft_type"),
        "lora_rank": settings.get("r"),
        "lora_alpha": settings.get("lora_alpha"),
        "lora_target_modules": sorted(targets) if isinstance(targets, list) else targets,
        **{name: settings.get(name) or plain for name, plain in _PLAIN.items()},
    }


def _wanted(lora: LoRA) -> Identity:
    return {
        "peft_type": "LORA",
        "lora_rank": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_target_modules": sorted(lora.target_modules),
        **_PLAIN,
    }


def _weights(folder: Path) -> dict[str, Tensor]:
    """Reads safetensors, or a pickled file without running any code from it."""
    safe, pickled = folder / "adapter_model.safetensors", folder / "adapter_model.bin"
    try:
        if safe.is_file():
            return load_file(safe)
        if pickled.is_file():
            return read_foreign(pickled)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{safe} is no readable adapter ({error}): fetch it again") from error
    raise InputError(f"{folder} holds neither {safe.name} nor {pickled.name}: fetch the adapter again")
