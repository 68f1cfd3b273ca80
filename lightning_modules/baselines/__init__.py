"""Rules and models to compare with, on the same examples and candidates."""

from lightning_modules.baselines.counting import CoOccurrence, Popularity

__all__ = ["CoOccurrence", "Popularity"]
