"""Rules and models to compare with, on the same examples and candidates."""

from lightning_modules.baselines.caser import Caser
from lightning_modules.baselines.counting import CoOccurrence, LastItem, Popularity
from lightning_modules.baselines.gru4rec import GRU4Rec
from lightning_modules.baselines.sasrec import SASRec

__all__ = ["Caser", "CoOccurrence", "GRU4Rec", "LastItem", "Popularity", "SASRec"]
