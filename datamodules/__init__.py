"""From interactions to packed batches of prompts, positives and candidate negatives."""

from datamodules.batches import Batch
from datamodules.errors import InputError
from datamodules.packing import PackedBatch, pack
from datamodules.recommendation import RecommendationDataModule

__all__ = ["Batch", "InputError", "PackedBatch", "RecommendationDataModule", "pack"]
