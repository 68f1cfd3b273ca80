"""What supervised and preference training share: a language model that ranks, its optimiser, its checkpoints."""

from typing import Any, ClassVar

from lightning.pytorch.utilities.rank_zero import rank_zero_info
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from datamodules.base import StoredDataModule
from datamodules.batches import Batch
from datamodules.errors import InputError
from datamodules.history_batches import HistoryBatch
from datamodules.tokenization import tokenizer_fingerprint
from lightning_modules.checkpoints import require_same_model, require_same_weights, trained_state
from lightning_modules.generation import constrained_choice, greedy_tokens
from lightning_modules.language_model import Identity, LanguageModel, LoRA, causal_lm
from lightning_modules.recommending import best_items
from lightning_modules.scoring import response_log_probs
from lightning_modules.trained import (
    OptimizerFactory,
    SchedulerFactory,
    TrainedRankingModule,
    require_float32,
)


class LanguageModelRecommender(TrainedRankingModule):
    """A language model that ranks candidates by log π(y | x).

    Args:
        language_model: What to build or load.
        optimizer: Takes the trained parameters.
        lr_scheduler: Any schedule; its length is filled in, see `TrainedRankingModule`.
        lora: Adapters; None trains all weights.
        gradient_checkpointing: Keep a layer's input alone and compute the rest again in the backward pass: less memory,
            about a third more time, the same gradients.
        train_in_low_precision: Allow trained weights of fewer than 32 bits, in which most updates at small learning
            rates are rounded away, see `require_float32`.
    """

    numbered: ClassVar[tuple[str, ...]] = ("tokens",)

    def __init__(
        self,
        language_model: LanguageModel,
        optimizer: OptimizerFactory,
        lr_scheduler: SchedulerFactory | None = None,
        lora: LoRA | None = None,
        gradient_checkpointing: bool = False,
        train_in_low_precision: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler)
        self.language_model = language_model
        self.lora = lora
        self.gradient_checkpointing = gradient_checkpointing
        self.train_in_low_precision = train_in_low_precision
        self.policy: PreTrainedModel | PeftModel | None = None
        self._identity: Identity = {}
        # Frozen weights are not in a checkpoint; `require_same_weights` checks that all others are.
        self.strict_loading = False

    def configure_model(self) -> None:
        """Builds the policy; Lightning calls it once the data, and so the tokenizer, are there.

        Raises:
            InputError: The model cannot be loaded, does not fit the data, or could not be trained.
        """
        if self.policy is not None:
            return
        data = self.trainer.datamodule
        tokenizer = data.tokenizer
        model = self.language_model.build(tokenizer)
        if self.lora is None and not all(weight.is_floating_point() for weight in model.parameters()):
            raise InputError("quantised weights cannot be trained: set model.lora, or leave quantization out")
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if isinstance(data, StoredDataModule) and limit is not None:
            data.require_context(limit)
        if self.gradient_checkpointing:
            # The reentrant kind loses gradients of frozen inputs and lets ranks drift apart.
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.policy = self.lora.apply(model) if self.lora else model
        lora = self.lora.identity() if self.lora else {}
        self._identity = {
            **self.language_model.identity(),
            **lora,
            "tokenizer": tokenizer_fingerprint(tokenizer),
        }

    def on_fit_start(self) -> None:
        """Enters training mode: `from_pretrained` returns evaluation mode and Lightning would keep it.

        Raises:
            InputError: Trained weights have fewer than 32 bits, which `train_in_low_precision` does not allow.
        """
        if not self.train_in_low_precision:
            require_float32(self, self._finer_weights())
        self.train()
        trained = sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
        rank_zero_info(f"training {trained:,} of {sum(p.numel() for p in self.parameters()):,} parameters")

    def _finer_weights(self) -> str:
        remedy = "set trainer.precision to bf16-mixed"
        if self.lora is None and self._identity.get("dtype", "float32") != "float32":
            remedy += " and language_model.dtype to float32, or train adapters (model.lora)"
        return f"{remedy}; model.train_in_low_precision true trains them as they are"

    def score(self, batch: Batch) -> Tensor:
        """Computes log π(y | x) of every response under the policy, shape [B, R]."""
        return response_log_probs(causal_lm(self.policy), batch.packed)

    def candidate_scores(self, batch: Batch) -> Tensor:
        """Ranks by log π(y | x), shape [B, C]."""
        return self.score(batch)

    def generate(self, batch: Batch, max_new_tokens: int) -> Tensor:
        """Writes an answer to every prompt, see `greedy_tokens`; shape [B, at most max_new_tokens]."""
        return greedy_tokens(
            causal_lm(self.policy),
            batch.packed,
            self.trainer.datamodule.tokenizer.eos_token_id,
            max_new_tokens,
        )

    def choose(self, batch: Batch) -> Tensor:
        """Writes an answer that has to be a candidate, see `constrained_choice`; its column, shape [B]."""
        return constrained_choice(causal_lm(self.policy), batch.packed)

    def predict_step(self, batch: Batch | HistoryBatch, batch_idx: int) -> dict[str, Any]:
        """Ranks candidates, or recommends from histories: `row` [B], `items` and `scores` [B, N], see `best_items`."""
        if isinstance(batch, Batch):
            return super().predict_step(batch, batch_idx)
        data = self.trainer.datamodule
        items, scores = best_items(
            causal_lm(self.policy), batch, data.trie, data.num_recommendations, data.beam
        )
        return {"row": batch.row, "items": items, "scores": scores}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps trained weights only, and says of which model."""
        super().on_save_checkpoint(checkpoint)
        # Not read off the module: a strategy that shards it gathers its state, on the first process alone.
        trained, state = trained_state(self), checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: value for key, value in state.items() if key in trained}
        checkpoint["language_model"] = self._identity

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks a checkpoint before Lightning loads it.

        Raises:
            InputError: It is of another model.
        """
        super().on_load_checkpoint(checkpoint)
        require_same_model(checkpoint.get("language_model", {}), self._identity, "the checkpoint")
        require_same_weights(self, checkpoint["state_dict"], "the checkpoint")
