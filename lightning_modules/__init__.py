"""Lightning modules: what trains, what ranks, and the command line."""

from lightning_modules.language_model import LoRA, SmallLlama
from lightning_modules.preference import PreferenceModule
from lightning_modules.pretrained import PretrainedLM
from lightning_modules.recommending import Recommendation, recommend
from lightning_modules.schedules import CosineWarmup, LinearWarmup
from lightning_modules.sharded import FullySharded
from lightning_modules.supervised import SupervisedModule

__all__ = [
    "CosineWarmup",
    "FullySharded",
    "LinearWarmup",
    "LoRA",
    "PreferenceModule",
    "PretrainedLM",
    "Recommendation",
    "SmallLlama",
    "SupervisedModule",
    "recommend",
]
