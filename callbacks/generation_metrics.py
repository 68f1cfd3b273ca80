"""Evaluation by generation, as the papers do it, with both of their denominators."""

from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import torch
from torch import Tensor
from torchmetrics import MeanMetric
from transformers import PreTrainedTokenizerBase

from callbacks.named_title import named_title
from datamodules.batches import Batch
from datamodules.errors import InputError
from datamodules.tokenization import PieceEncoder

# What the papers' evaluations allow; longer where a title of the catalogue is.
_FEWEST_TOKENS = 64

_METRICS = ("valid_ratio", "generated_hit_ratio@1", "constrained_hit_ratio@1")
_OF_VALID = "generated_hit_ratio@1_valid"


@runtime_checkable
class WritesAnswers(Protocol):
    """A module that can be evaluated by generation."""

    def generate(self, batch: Batch, max_new_tokens: int) -> Tensor:
        """Writes an answer to every prompt, tokens of shape [B, at most max_new_tokens]."""

    def choose(self, batch: Batch) -> Tensor:
        """Writes an answer that has to be a candidate; its column, shape [B]."""


class GenerationMetrics(pl.Callback):
    """Lets a language model write the title, greedily, and looks which candidate it names (see `named_title`).

    Logged under `test/`, over all examples of all ranks:

    - `valid_ratio`: share of answers that name exactly one candidate.
    - `generated_hit_ratio@1`: share of answers that name the target, over all examples (arXiv 2406.09215).
    - `generated_hit_ratio@1_valid`: the same over valid answers (arXiv 2312.02445); not logged where there is none.
    - `constrained_hit_ratio@1`: share of targets among answers that are constrained to the candidates' tokens.

    It is a callback because it is no part of a model: any checkpoint can be tested with it or without it.

    Args:
        validation: Whether validations do the same, under `val/`; it takes longer than ranking does.
    """

    def __init__(self, validation: bool = False) -> None:
        self._validation = validation
        self._metrics: dict[str, MeanMetric] = {}
        self._max_new_tokens = 0

    @property
    def validation_metrics(self) -> list[str]:
        """What validations log."""
        return [f"val/{name}" for name in (*_METRICS, _OF_VALID)] if self._validation else []

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts counting."""
        self._start(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts counting, if validations are evaluated so."""
        if self._validation:
            self._start(trainer, pl_module)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Generates."""
        self._evaluate(trainer, pl_module, batch)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Generates, if validations are evaluated so."""
        if self._validation:
            self._evaluate(trainer, pl_module, batch)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs."""
        self._log(pl_module, "test/")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs, if validations are evaluated so."""
        if self._validation:
            self._log(pl_module, "val/")

    def _start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not isinstance(pl_module, WritesAnswers):
            raise InputError(
                f"GenerationMetrics needs a language model and {type(pl_module).__name__} writes no text: leave the "
                "callback out"
            )
        self._metrics = {
            name: MeanMetric(nan_strategy="disable").to(trainer.strategy.root_device) for name in _METRICS
        }
        data = trainer.datamodule
        answers = PieceEncoder(data.tokenizer).responses(data.store.titles)
        self._max_new_tokens = max(_FEWEST_TOKENS, *map(len, answers))

    def _evaluate(self, trainer: pl.Trainer, pl_module: Any, batch: Batch) -> None:
        # A callback's hook runs outside the trainer's precision, which ranking has.
        with trainer.precision_plugin.forward_context():
            answers = pl_module.generate(batch, self._max_new_tokens)
            chosen = pl_module.choose(batch)
        valid, hit = judge(answers, batch, trainer.datamodule.tokenizer)
        self._metrics["valid_ratio"].update(valid.float())
        self._metrics["generated_hit_ratio@1"].update(hit.float())
        self._metrics["constrained_hit_ratio@1"].update((chosen == batch.positive).float())

    def _log(self, pl_module: pl.LightningModule, prefix: str) -> None:
        # `compute` sums over ranks, so that every rank logs the same value.
        values = {name: metric.compute() for name, metric in self._metrics.items()}
        if values["valid_ratio"] > 0:
            values[_OF_VALID] = values["generated_hit_ratio@1"] / values["valid_ratio"]
        pl_module.log_dict({f"{prefix}{name}": value for name, value in values.items()})


def judge(answers: Tensor, batch: Batch, tokenizer: PreTrainedTokenizerBase) -> tuple[Tensor, Tensor]:
    """Says which answers name exactly one candidate, and which name the target.

    Args:
        answers: Generated tokens, shape [B, T].
        batch: The prompts they answer.
        tokenizer: Turns the answers' and the candidates' tokens into text alike, so that nothing it loses counts.

    Returns:
        Whether an answer is valid, and whether it is a hit; both of shape [B].
    """
    texts = _decode(tokenizer, answers.tolist())
    tokens = torch.where(batch.packed.token_mask, batch.packed.target, tokenizer.eos_token_id)
    titles = [_decode(tokenizer, row) for row in tokens.tolist()]
    named = [named_title(text, row) for text, row in zip(texts, titles, strict=True)]
    target = [row[column].strip() for row, column in zip(titles, batch.positive.tolist(), strict=True)]
    hits = [name is not None and name == title for name, title in zip(named, target, strict=True)]
    device = answers.device
    return torch.tensor([name is not None for name in named], device=device), torch.tensor(
        hits, device=device
    )


def _decode(tokenizer: PreTrainedTokenizerBase, rows: list[list[int]]) -> list[str]:
    """Cuts at EOS and decodes as it is; a tokenizer's clean-up would change what a title says."""
    cut = [row[: row.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in row else row for row in rows]
    texts: list[str] = tokenizer.batch_decode(
        cut, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return texts
