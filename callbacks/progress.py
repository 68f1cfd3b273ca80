"""One progress bar per stage; a validation adds a line, not a bar."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm, TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """Shows steps per second and the loss; refreshed at log steps, when the loss is read anyway."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refreshes as often as the trainer logs."""
        super().setup(trainer, pl_module, stage)
        self._refresh_rate = max(1, trainer.log_every_n_steps)

    def init_validation_tqdm(self) -> Tqdm:
        """Hides the validation's bar during training; `ValidationLine` prints its result."""
        bar = super().init_validation_tqdm()
        bar.disable = bar.disable or self.trainer.state.fn == "fit"
        return bar

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The training loss as it was last logged."""
        loss = trainer.callback_metrics.get("train/loss")
        return {} if loss is None else {"train/loss": f"{loss:.4f}"}
