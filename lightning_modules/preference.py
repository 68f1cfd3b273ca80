"""Stage 2: preference optimisation of the policy against its frozen reference."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from datamodules.batches import Batch
from datamodules.checks import require_text
from datamodules.errors import InputError
from lightning_modules.checkpoints import digest, sampled_digest, trained_state
from lightning_modules.language_model import LanguageModel, LoRA
from lightning_modules.recommender import LanguageModelRecommender
from lightning_modules.reference import Reference, freeze_reference
from lightning_modules.reference_fill import cached_reference
from lightning_modules.starting_point import starting_state
from lightning_modules.trained import OptimizerFactory, SchedulerFactory
from losses import ResponseScores, gradient_weights, three_means_boundary
from losses.objective import Objective


class PreferenceModule(LanguageModelRecommender):
    """Minimises a multi-negative preference objective, averaged over examples.

    Dropout is off: the forward that decides B, S and β must be the one that is trained.

    Args:
        language_model: What to build or load; the same as in stage 1.
        objective: Any objective of `losses`.
        optimizer: Takes the trained parameters.
        lr_scheduler: Any schedule; its length is filled in, see `TrainedRankingModule`.
        lora: Adapters; None trains all weights.
        init_from: Policy and reference at the start: a checkpoint of stage 1, or the folder of a PEFT adapter that was
            trained elsewhere; None starts from the language model. On the command line also a run's folder, or the name
            of the run beside this one, whose best checkpoint is taken.
        reference_cache: Folder that keeps reference log-probabilities, so that a sweep computes them once; None
            computes them at every step.
        gradient_checkpointing: Less memory for more time, see `LanguageModelRecommender`.
        train_in_low_precision: Allow trained weights of fewer than 32 bits, see `LanguageModelRecommender`.
        policy_from: Policy at the start where it is not the reference, to train on under other settings, as at another
            learning rate: a checkpoint of stage 2, or the name of the run beside this one. The reference is still
            `init_from`.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        objective: Objective,
        optimizer: OptimizerFactory,
        lr_scheduler: SchedulerFactory | None = None,
        lora: LoRA | None = None,
        init_from: str | None = None,
        reference_cache: str | None = None,
        gradient_checkpointing: bool = False,
        train_in_low_precision: bool = False,
        policy_from: str | None = None,
    ) -> None:
        super().__init__(
            language_model, optimizer, lr_scheduler, lora, gradient_checkpointing, train_in_low_precision
        )
        require_text(init_from=init_from, reference_cache=reference_cache, policy_from=policy_from)
        self.objective = objective
        self.init_from = init_from
        self.policy_from = policy_from
        self.reference_cache = reference_cache
        self.reference: Reference | None = None
        self._reference_digest = ""

    def configure_model(self) -> None:
        """Builds the policy and, to train, loads stage 1 into it and freezes the reference.

        Raises:
            InputError: A checkpoint that it starts from is missing or of another model, or the objective takes fewer
                negatives than the data have.
        """
        if self.policy is not None:
            return
        if self.trainer.training:
            self._require_few_negatives()
        super().configure_model()
        if not self.trainer.training:
            return
        if self.init_from is not None:
            self.load_state_dict(starting_state(self, self._identity, self.init_from), strict=False)
        self._reference_digest = digest(trained_state(self))
        if self.objective.needs_reference:
            self.reference = freeze_reference(self.policy)
        if self.policy_from is not None:
            self.load_state_dict(starting_state(self, self._identity, self.policy_from), strict=False)
        _turn_dropout_off(self)

    def _require_few_negatives(self) -> None:
        most, there = self.objective.most_negatives, getattr(self.trainer.datamodule, "most_negatives", 0)
        if most is not None and there > most:
            raise InputError(
                f"prompts have up to {there} negatives and the objective compares {most}: set "
                f"--data.num_negatives {most}, or an objective for many, such as losses.DMPO"
            )

    def setup(self, stage: str) -> None:
        """Refuse data without negatives, on which there is no preference.

        Raises:
            InputError: `num_negatives` is 0.
        """
        if stage == "fit" and getattr(self.trainer.datamodule, "num_negatives", None) == 0:
            raise InputError("data.num_negatives is 0, which is for supervised training: set at least 1")

    def on_train_start(self) -> None:
        """With a cache, looks the reference up from now on."""
        if self.reference is not None and self.reference_cache is not None:
            self.reference = cached_reference(self, self.reference, Path(self.reference_cache))

    @property
    def reference_identity(self) -> tuple[str, ...]:
        """Names what decides a reference log-probability, besides prompt and response."""
        return (
            self._reference_digest,
            sampled_digest(self),
            json.dumps(self._identity, sort_keys=True),
            str(self.trainer.precision),
        )

    def response_scores(self, batch: Batch) -> ResponseScores:
        """Scores a batch under the policy, with gradients, and under the reference, without."""
        reference = None if self.reference is None else self.reference(batch)
        lengths = batch.packed.lengths
        mask = lengths[:, 1:] > 0
        return ResponseScores(self.score(batch), reference, mask=mask, lengths=lengths, draws=batch.draws)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Computes the loss, and the facts that callbacks read.

        Returns:
            `loss`; and detached: `policy`, `compared` and `rewards` [B, 1 + K], `mask`, `boundary`, `selected`,
            `beta` and `weights` (|∂loss/∂s_i|) [B, K] (see `losses`). `compared` are the log-probabilities that
            selection and margins see; `boundary` is the paper's B under the current policy, for every objective.
        """
        scores = self.response_scores(batch)
        out = self.objective(scores)
        compared = self.objective.view(scores)
        return {
            "loss": out.loss.mean(),
            "policy": scores.policy.detach(),
            "compared": compared.policy.detach(),
            "rewards": out.rewards,
            "mask": scores.present,
            "boundary": three_means_boundary(compared),
            "selected": out.selected,
            "beta": out.beta,
            "weights": gradient_weights(self.objective, scores),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps trained weights only, and which reference they were trained against."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["reference"] = self._reference_digest

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks a checkpoint before Lightning loads it.

        Raises:
            InputError: The checkpoint is of another model, or training would go on against another reference.
        """
        super().on_load_checkpoint(checkpoint)
        if self._reference_digest and checkpoint.get("reference") != self._reference_digest:
            raise InputError(
                f"the checkpoint was trained against reference {checkpoint.get('reference')}, {self.init_from} is "
                f"{self._reference_digest}: restore the stage 1 checkpoint it started from, or start over"
            )


def _turn_dropout_off(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010 - a plain attribute, no parameter
