"""What is measured: a model, a batch, and a policy that has moved a little away from its reference."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from datamodules import RecommendationDataModule
from datamodules.batches import Batch
from datamodules.sources import MovieLens100k, RecBoleSource
from lightning_modules.language_model import LanguageModel, LoRA, SmallLlama
from lightning_modules.pretrained import PretrainedLM
from lightning_modules.smollm2 import fetch_smollm2

MODELS = ("smollm2", "quickstart")
BATCH_SIZES = {"smollm2": 2, "quickstart": 32}


@dataclass(frozen=True)
class Workload:
    """One preference step of one model; a process can rebuild it from these plain values.

    Attributes:
        model: `smollm2`, trained through LoRA of rank 8, or `quickstart`, of which all weights are trained.
        num_negatives: K.
        batch_size: Prompts.
        cache_dir: Where downloads and built examples are kept.
        data: Folder of RecBole files; None takes MovieLens-100k.
    """

    model: str
    num_negatives: int
    batch_size: int
    cache_dir: str = "cache"
    data: str | None = None

    @property
    def lora(self) -> LoRA | None:
        """Adapters, without dropout; None trains all weights."""
        return LoRA(rank=8, dropout=0.0) if self.model == "smollm2" else None

    def language_model(self) -> LanguageModel:
        """The recipe of the model."""
        if self.model == "smollm2":
            return PretrainedLM(str(fetch_smollm2(Path(self.cache_dir))))
        return SmallLlama()

    def data_module(self) -> RecommendationDataModule:
        """Examples tokenised for the model, ready to use; built at the first call.

        Raises:
            InputError: Data or model cannot be fetched.
        """
        tokenizer = str(fetch_smollm2(Path(self.cache_dir))) if self.model == "smollm2" else None
        data = RecommendationDataModule(
            MovieLens100k() if self.data is None else RecBoleSource(self.data),
            tokenizer=tokenizer,
            title_tokens=tokenizer is None,  # as in the quickstart
            num_negatives=self.num_negatives,
            batch_size=self.batch_size,
            cache_dir=self.cache_dir,
        )
        data.prepare_data()
        data.setup("fit")
        return data

    def batch(self, data: RecommendationDataModule) -> Batch:
        """The first training batch: the same prompts for every K, the negatives of a smaller K among a larger's."""
        batch: Batch = next(iter(data.train_dataloader()))
        return batch

    def base(self, data: RecommendationDataModule) -> PreTrainedModel:
        """The model before training, with the same weights in every process."""
        torch.manual_seed(0)
        return self.language_model().build(data.tokenizer)

    def policy(self, data: RecommendationDataModule) -> PreTrainedModel | PeftModel:
        """The model with its adapters, in training mode; still equal to the reference."""
        model = self.base(data)
        torch.manual_seed(0)
        policy = self.lora.apply(model) if self.lora else model
        return policy.train()


def requested(
    module: str, document: str, num_negatives: int, steps: int, args: list[str] | None
) -> tuple[list[Workload], int]:
    """Reads the command line of a benchmark that measures one K of one model after the other.

    Args:
        module: Its name, as in `python -m`.
        document: Its docstring.
        num_negatives: K.
        steps: Repetitions unless the command line says otherwise.
        args: Arguments to parse; None takes the process's.

    Returns:
        The workloads, and the repetitions.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=document.split("\n")[0])
    parser.add_argument("--model", choices=MODELS, action="append", help="may be repeated; default: both")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--cache_dir", default="cache")
    settings = parser.parse_args(args)
    names = settings.model or MODELS
    return [
        Workload(name, num_negatives, BATCH_SIZES[name], settings.cache_dir) for name in names
    ], settings.steps


@torch.no_grad()
def move_away(policy: torch.nn.Module, scale: float = 3e-3) -> None:
    """Moves the trained weights, so that log-ratios are not all 0 and an error in them would show in the loss."""
    generator = torch.Generator().manual_seed(1)
    for parameter in policy.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
