"""What a checkpoint holds of a model: its trained weights and what they were trained on, never the frozen base."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from datamodules.data_record import DataRecord, differences
from datamodules.errors import InputError
from lightning_modules.checkpoint_files import read_whole
from lightning_modules.language_model import Identity


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """The entries of `state_dict` that training changes."""
    return {
        key: value.detach() for key, value in module.state_dict(keep_vars=True).items() if value.requires_grad
    }


def require_same_weights(module: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Refuses a state that does not hold all trained weights and no others.

    Raises:
        InputError: Names or shapes differ; loaded without strictness it would restore nothing and say nothing.
    """
    expected = {key: value.shape for key, value in trained_state(module).items()}
    found = {key: value.shape for key, value in state.items()}
    if wrong := sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)):
        key = wrong[0]
        raise InputError(
            f"{where} does not fit the model: {len(wrong)} weights differ, the first is {key} with shape "
            f"{found.get(key)} there and {expected.get(key)} here: use the model settings it was trained with"
        )


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint without running any code from it.

    Raises:
        InputError: There is none, or it is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"there is no checkpoint at {path}: run the stage that writes it first, or give another path"
        )
    return read_whole(path)


def require_same_model(found: Identity, expected: Identity, where: str) -> None:
    """Refuses a checkpoint of another model.

    Raises:
        InputError: It lists every difference.
    """
    differences = [
        f"{key} is {found.get(key)!r} there and {expected.get(key)!r} here"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]
    if differences:
        raise InputError(
            f"{where} is of another model: {'; '.join(differences)}: use the settings it was trained with"
        )


def require_same_tokens(saved: Any, data: DataRecord, where: str) -> None:
    """Refuse a stage 1 whose tokens mean something else, and tell of other differences in its data.

    Args:
        saved: The record in stage 1's checkpoint.
        data: The data at hand.
        where: The checkpoint, for errors.

    Raises:
        InputError: Stage 1 was trained with another tokenizer.
    """
    then = DataRecord.read(saved, where)
    data.require_tokens(then, where)
    if others := differences(then.settings.prompts, data.settings.prompts) + data.other_rows(then):
        rank_zero_info(
            f"{where} was trained on other data: {'; '.join(others)}: see that none of its training rows is evaluated "
            "here"
        )


def require_trained_data(saved: Any, data: DataRecord, numbered: tuple[str, ...], stage: str) -> None:
    """Refuse data that a checkpoint's weights cannot be used on, and tell of a difference in what is evaluated.

    Training goes on with the same rows alone. Other rows may be validated, tested and predicted, where prompts and all
    that the weights know by number are the same.

    Args:
        saved: The record in the checkpoint.
        data: The data at hand.
        numbered: What the weights know by number, see `TrainedRankingModule`.
        stage: `fit`, `validate`, `test` or `predict`.

    Raises:
        InputError: It names the settings that differ.
    """
    then = DataRecord.read(saved, "the checkpoint")
    if "tokens" in numbered:
        data.require_tokens(then, "the checkpoint")
    data.require_prompts(then, "the checkpoint")
    if stage == "fit":
        data.require_training_rows(then, "the checkpoint")
    data.require_catalogue(then, numbered, "the checkpoint")
    others = data.other_rows(then, validation=stage == "validate")
    if stage in ("test", "predict"):
        others += differences(then.settings.test, data.settings.test)
    if others:
        rank_zero_info(
            f"{stage}: other data than the run had: {'; '.join(others)}: numbers are not comparable with the run's own"
        )


def digest(state: dict[str, Tensor]) -> str:
    """Identifies weights by their bytes."""
    total = hashlib.sha256()
    for key in sorted(state):
        total.update(key.encode())
        total.update(state[key].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def sampled_digest(module: nn.Module, most: int = 1024) -> str:
    """Identifies frozen weights by evenly spaced elements of each: reading all of a large base would take long.

    Args:
        module: Whose parameters without gradients are read.
        most: Elements of each.
    """
    frozen = {
        name: parameter.detach().flatten()[:: 1 + parameter.numel() // most]
        for name, parameter in module.named_parameters()
        if not parameter.requires_grad
    }
    return digest(frozen)
