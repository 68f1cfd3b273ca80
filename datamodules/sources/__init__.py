"""Readers: one format each, of interactions or of examples that come with their candidates."""

from datamodules.sources.base import InteractionSource, Source
from datamodules.sources.hub import HubSource
from datamodules.sources.movielens import MovieLens100k
from datamodules.sources.preferences import PreferenceFiles
from datamodules.sources.recbole import RecBoleSource
from datamodules.sources.sdpo import SDPOSource
from datamodules.sources.table import TableSource

__all__ = [
    "HubSource",
    "InteractionSource",
    "MovieLens100k",
    "PreferenceFiles",
    "RecBoleSource",
    "SDPOSource",
    "Source",
    "TableSource",
]
