"""From interactions to packed batches of prompts, positives and candidate negatives."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError
<<<<<<< HEAD

if TYPE_CHECKING:
    from datamodules.batches import Batch
    from datamodules.packing import PackedBatch, pack
    from datamodules.recommendation import RecommendationDataModule

__all__ = ["Batch", "InputError", "PackedBatch", "RecommendationDataModule", "pack"]

_MODULES = {
    "Batch": "batches",
    "PackedBatch": "packing",
    "RecommendationDataModule": "recommendation",
    "pack": "packing",
}


def __getattr__(name: str) -> Any:
    """Imports on first use: torch, Lightning and transformers take seconds, and the leak audit needs none."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
=======
from datamodules.packing import PackedBatch, pack
from datamodules.preference_pairs import PreferencePairsDataModule
from datamodules.recommendation import RecommendationDataModule

__all__ = [
    "Batch",
    "InputError",
    "PackedBatch",
    "PreferencePairsDataModule",
    "RecommendationDataModule",
    "pack",
]
>>>>>>> data
