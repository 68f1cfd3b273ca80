"""The checkpoint of the best validation."""

from collections.abc import Iterator
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from callbacks.generation_metrics import GenerationMetrics
from datamodules.errors import InputError
from lightning_modules.checkpoint_files import CheckpointFiles
from lightning_modules.ranking import RankingModule

# Packages whose modules and callbacks log nothing in a validation but what `_validation_metrics` yields.
_KNOWN = ("lightning_modules", "callbacks", "lightning")


class BestCheckpoint(ModelCheckpoint):
    """Lightning's, which would remember a file that could not be written as the best one, and never replace it."""

    _goes_on = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check this and other callbacks' metrics before training; Lightning looks for them after the first validation.

        Raises:
            InputError: No validation logs one of them.
        """
        if stage == "fit" and all(_is_known(each) for each in (pl_module, *trainer.callbacks)):
            metrics = list(_validation_metrics(trainer, pl_module))
            for callback in trainer.callbacks:
                if metrics and isinstance(callback, ModelCheckpoint | EarlyStopping) and callback.monitor:
                    name = "best_checkpoint" if callback is self else type(callback).__name__
                    _require_logged(f"{name}.monitor", callback.monitor, metrics)
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves if this validation was the best; what could not be saved was not."""
        before = deepcopy(self.state_dict())
        super().on_validation_end(trainer, pl_module)
        files = trainer.strategy.checkpoint_io
        # Only the first process writes, and all have to remember the same.
        if isinstance(files, CheckpointFiles) and trainer.strategy.broadcast(files.failure is not None):
            super().load_state_dict(before)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Learn whether training goes on with the run of this folder, or begins one with another run's weights."""
        start = Path(trainer.ckpt_path or "").resolve().parent
        self._goes_on = start == Path(self.dirpath or "").resolve()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best of this folder's run, by its place here: the folder may have been moved since.

        Lightning would forget the score of a moved run, and replace its best checkpoint by the next one; and it would
        take another run's best checkpoint for this run's.
        """
        best = Path(self.dirpath or "") / Path(state_dict["best_model_path"]).name
        if not self._goes_on or not best.is_file():
            return
        here = {"dirpath": self.dirpath, "best_model_path": str(best), "kth_best_model_path": str(best)}
        scores = {str(best): score for score in state_dict["best_k_models"].values()}
        super().load_state_dict({**state_dict, **here, "best_k_models": scores})


def _require_logged(setting: str, monitor: str, metrics: list[str]) -> None:
    # What training logs, such as `lr`, depends on its callbacks: it is looked for when it is needed.
    is_of_validation = monitor.startswith(("val/", "test/")) or f"val/{monitor}" in metrics
    if monitor in metrics or not is_of_validation:
        return
    similar = get_close_matches(monitor, metrics, n=1, cutoff=0.5)
    raise InputError(
        f"{setting} is {monitor} and no validation logs it: {f'did you mean {similar[0]}? ' if similar else ''}"
        f"name one of {', '.join(metrics)}"
    )


def _is_known(part: object) -> bool:
    return type(part).__module__.partition(".")[0] in _KNOWN


def _validation_metrics(trainer: pl.Trainer, pl_module: pl.LightningModule) -> Iterator[str]:
    if isinstance(pl_module, RankingModule):
        yield from pl_module.val_metrics.named()
    for callback in trainer.callbacks:
        if isinstance(callback, GenerationMetrics):
            yield from callback.validation_metrics
