"""Hands a finished run over: weights that plain `peft` and `transformers` load, with a model card."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from peft import PeftModel

from callbacks.best_checkpoint import BestCheckpoint
from callbacks.model_card import CardFacts, model_card
from datamodules.base import StoredDataModule
from datamodules.batches import Batch
from datamodules.errors import InputError
from datamodules.packing import PackedBatch
from datamodules.prompt_settings import PromptSettings
from datamodules.recommendation import RecommendationDataModule
from datamodules.store import replace_folder
from datamodules.tokenization import save_tokenizer
from lightning_modules.checkpoints import read_checkpoint, trained_state
from lightning_modules.export_check import ExportCheck, loaded_adapter, loaded_model
from lightning_modules.hand_over import (
    State,
    base_of,
    require_portable,
    write_adapter,
    write_base,
    write_model,
)
from lightning_modules.pretrained import PretrainedLM
from lightning_modules.recommender import LanguageModelRecommender
from lightning_modules.sharded import require_whole_weights

_PREFIX = "policy."

# Examples that are scored to check an export.
_NUM_CHECKED = 2
_KEPT = "the run's weights are in its checkpoints; report it with the language model and the LoRA settings"


class AdapterExport(pl.Callback):
    """Writes the trained weights when training has ended, into the run's folder.

    With LoRA: `adapter/`, a PEFT folder; where the base was built from scratch and exists nowhere else, it is written
    to `base/`. Without LoRA: `model/`, a whole model. Each holds the tokenizer, `README.md` (a model card) and
    `prompts.json` (how the model is asked), and replaces what stood there in one step.

    The weights are those of the best checkpoint of this run; where it has none, those that training ended with. The
    module in memory stays as it is.

    What is written is loaded as others load it and scores two training examples. Where log-probabilities differ from
    the run's by more than rounding, an error says so and an older export stays. The check holds the model in memory a
    second time, on the CPU, where a trainer leaves its module; a quantised base is not loaded again.

    Args:
        merged: With LoRA, also write `model/`, with the adapter merged into its base.
    """

    def __init__(self, merged: bool = False) -> None:
        self.merged = merged
        self._metrics: dict[str, float] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuses what could not be exported before time is spent on training it."""
        if not isinstance(pl_module, LanguageModelRecommender):
            raise InputError(
                f"AdapterExport needs a language model and {type(pl_module).__name__} is none: leave the callback out"
            )
        require_portable(pl_module.language_model, pl_module.policy, self.merged)
        require_whole_weights(
            trainer,
            "AdapterExport",
            "leave it out; when training has ended, the same fit in one process with it and --ckpt_path last exports",
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remembers the metrics, which the best checkpoint then holds."""
        if not trainer.sanity_checking:
            metrics = trainer.callback_metrics.items()
            self._metrics = {name: value.item() for name, value in metrics if name.startswith("val/")}

    def state_dict(self) -> dict[str, Any]:
        """The metrics of the last validation."""
        return {"metrics": self._metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores them."""
        self._metrics = state_dict["metrics"]

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the folders, on one process; nothing in a `fast_dev_run`."""
        if not trainer.is_global_zero or not isinstance(pl_module, LanguageModelRecommender):
            return
        if trainer.fast_dev_run:
            return
        checkpoint = self._checkpoint(trainer, pl_module)
        state = {name.removeprefix(_PREFIX): value for name, value in checkpoint["state_dict"].items()}
        folder, policy = Path(trainer.default_root_dir), pl_module.policy
        facts = self._facts(trainer, checkpoint, base_of(policy))
        check = ExportCheck.of(policy, state, _few_examples(trainer.datamodule))
        if isinstance(policy, PeftModel):
            _export_adapter(trainer, pl_module, state, facts, check)
        if self.merged or not isinstance(policy, PeftModel):
            remedy = "leave merged out and export the adapter alone" if self.merged else _KEPT

            def same(new: Path) -> float:
                return check.require_same(folder / "model", loaded_model(new, check.dtype), remedy)

            _write(folder / "model", partial(write_model, policy, state), facts, trainer, same)

    def _checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Reads the best checkpoint of this run, or says of the weights in hand what it would."""
        for callback in trainer.checkpoint_callbacks:
            # A ModelCheckpoint of the user's own keeps something else.
            if isinstance(callback, BestCheckpoint) and Path(callback.best_model_path).is_file():
                return read_checkpoint(callback.best_model_path)
        return {
            "state_dict": trained_state(pl_module),
            "global_step": trainer.global_step,
            "callbacks": {self.state_key: self.state_dict()},
        }

    def _facts(self, trainer: pl.Trainer, checkpoint: dict[str, Any], base: str | None) -> CardFacts:
        return CardFacts(
            name="-".join(Path(trainer.default_root_dir).parts[-2:]),
            base=base,
            is_adapter=False,
            step=checkpoint["global_step"],
            metrics=checkpoint["callbacks"].get(self.state_key, {}).get("metrics", {}),
            report=trainer.datamodule.store.report,
            prompts=_prompts(trainer.datamodule),
            settings=checkpoint.get("config", {}),
        )


def _prompts(data: pl.LightningDataModule) -> PromptSettings | None:
    return data.prompt_settings if isinstance(data, RecommendationDataModule) else None


def _few_examples(data: StoredDataModule) -> PackedBatch:
    rows = np.arange(min(_NUM_CHECKED, len(data.store.splits["train"])))
    batch: Batch = next(iter(data.candidates_loader(rows, len(rows))))
    return batch.packed


def _export_adapter(
    trainer: pl.Trainer, module: LanguageModelRecommender, state: State, facts: CardFacts, check: ExportCheck
) -> None:
    """Writes `adapter/`, and `base/` around it: both are replaced once the check has passed."""
    folder, policy, model = Path(trainer.default_root_dir), module.policy, module.language_model
    revision = model.revision if isinstance(model, PretrainedLM) else None
    base = facts.base or str((folder / "base").resolve())
    write = partial(write_adapter, policy, state, base, revision)

    def export(base_now: str | Path) -> None:
        def same(new: Path) -> float:
            loaded = loaded_adapter(new, policy, base_now, revision)
            return check.require_same(folder / "adapter", loaded, _KEPT)

        _write(folder / "adapter", write, replace(facts, base=base, is_adapter=True), trainer, same)

    def export_with_base(new: Path) -> None:
        write_base(policy, new)
        export(new)

    if facts.base is None:
        replace_folder(folder / "base", export_with_base)
    else:
        export(base)


def _write(
    folder: Path,
    write: Callable[[Path], None],
    facts: CardFacts,
    trainer: pl.Trainer,
    same: Callable[[Path], float],
) -> None:
    """Puts weights, tokenizer, card and prompts into one folder, which is the run's model as `same` finds."""
    differences = []

    def fill(new: Path) -> None:
        write(new)
        save_tokenizer(trainer.datamodule.tokenizer, new)
        model_card(facts).save(new / "README.md")
        if facts.prompts is not None:
            facts.prompts.write(new)
        differences.append(same(new))

    replace_folder(folder, fill)
    rank_zero_info(
        f"exported {folder}, of step {facts.step}; its log-probabilities are the run's to {differences[0]:.1g}"
    )
