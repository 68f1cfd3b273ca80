"""From interactions to packed batches of prompts, positives and candidate negatives."""

from datamodules.batches import Batch
from datamodules.errors import InputError
from datamodules.histories import HistoryDataModule
from datamodules.packing import PackedBatch, pack
from datamodules.preference_pairs import PreferencePairsDataModule
from datamodules.recommendation import RecommendationDataModule

__all__ = [
    "Batch",
    "HistoryDataModule",
    "InputError",
    "PackedBatch",
    "PreferencePairsDataModule",
    "RecommendationDataModule",
    "pack",
]
