"""Stage 1: supervised fine-tuning on the positive, and on the history with a weight."""

from typing import Any

import torch
from torch import Tensor

from datamodules.batches import Batch
from datamodules.checks import require_at_least, require_text
from datamodules.errors import InputError
from lightning_modules.language_model import LanguageModel, LoRA, causal_lm
from lightning_modules.recommender import LanguageModelRecommender
from lightning_modules.scoring import hidden_states, token_log_probs
from lightning_modules.starting_point import starting_state
from lightning_modules.trained import OptimizerFactory, SchedulerFactory


class SupervisedModule(LanguageModelRecommender):
    """Maximises log π(positive | prompt) + w · log π(history).

    The loss of an example is the sum over the answer's tokens, EOS included, of −log p, plus `history_weight` times
    the same sum over the history's tokens; a batch's loss is the mean over examples.

    Args:
        language_model: What to build or load.
        optimizer: Takes the trained parameters.
        lr_scheduler: Any schedule; its length is filled in, see `TrainedRankingModule`.
        lora: Adapters; None trains all weights.
        history_weight: w; a model from scratch learns titles from it, a pretrained one hardly needs it.
        gradient_checkpointing: Less memory for more time, see `LanguageModelRecommender`.
        train_in_low_precision: Allow trained weights of fewer than 32 bits, see `LanguageModelRecommender`.
        init_from: Weights to start from, to train on under other settings, as at another learning rate: a checkpoint,
            the folder of a PEFT adapter, or the name of the run beside this one whose best checkpoint it is; None
            starts from the language model.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        optimizer: OptimizerFactory,
        lr_scheduler: SchedulerFactory | None = None,
        lora: LoRA | None = None,
        history_weight: float = 0.0,
        gradient_checkpointing: bool = False,
        train_in_low_precision: bool = False,
        init_from: str | None = None,
    ) -> None:
        super().__init__(
            language_model, optimizer, lr_scheduler, lora, gradient_checkpointing, train_in_low_precision
        )
        require_at_least(0, history_weight=history_weight)
        require_text(init_from=init_from)
        self.history_weight = history_weight
        self.init_from = init_from

    def configure_model(self) -> None:
        """Build the policy and, to train, load the weights it starts from.

        Raises:
            InputError: They are missing or of another model.
        """
        if self.policy is not None:
            return
        super().configure_model()
        if self.trainer.training and self.init_from is not None:
            self.load_state_dict(starting_state(self, self._identity, self.init_from), strict=False)

    def setup(self, stage: str) -> None:
        """Refuse data with negatives, which would be learned as if they were answers.

        Raises:
            InputError: `num_negatives` is not 0.
        """
        negatives = getattr(self.trainer.datamodule, "num_negatives", 0)
        if stage == "fit" and negatives != 0:
            shown = "null, which takes all of them" if negatives is None else negatives
            raise InputError(
                f"data.num_negatives is {shown}: supervised training would learn negatives as if they were "
                "answers: set 0"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Computes the loss; also returns each answer's log-probability, [B, 1]."""
        model = causal_lm(self.policy)
        hidden, packed = hidden_states(model, batch.packed), batch.packed
        tokens = token_log_probs(model, hidden, packed.source, packed.source_of, packed.target)
        answer = torch.where(packed.token_mask, tokens, 0.0).sum(dim=-1)
        loss = -answer.sum() / len(batch)
        if self.history_weight > 0:
            loss = loss + self.history_weight * self._history_loss(batch, hidden)
        return {"loss": loss, "policy": answer.detach()}

    def _history_loss(self, batch: Batch, hidden: Tensor) -> Tensor:
        history = batch.packed.history
        everywhere = torch.arange(len(history.target), device=hidden.device)
        tokens = token_log_probs(causal_lm(self.policy), hidden, history.source, everywhere, history.target)
        return -tokens.sum() / len(batch)
