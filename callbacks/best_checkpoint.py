"""The checkpoint of the best validation."""

from copy import deepcopy

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_modules.checkpoint_files import CheckpointFiles


class BestCheckpoint(ModelCheckpoint):
    """Lightning's, which would remember a file that could not be written as the best one, and never replace it."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves if this validation was the best; what could not be saved was not."""
        before = deepcopy(self.state_dict())
        super().on_validation_end(trainer, pl_module)
        files = trainer.strategy.checkpoint_io
        # Only the first process writes, and all have to remember the same.
        if isinstance(files, CheckpointFiles) and trainer.strategy.broadcast(files.failure is not None):
            self.load_state_dict(before)
