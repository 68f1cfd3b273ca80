"""Readers: one format each, all into `Interactions`."""

from datamodules.sources.base import Source
from datamodules.sources.movielens import MovieLens100k
from datamodules.sources.recbole import RecBoleSource

__all__ = ["MovieLens100k", "RecBoleSource", "Source"]
