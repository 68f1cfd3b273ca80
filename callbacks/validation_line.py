"""One line per validation, for a person at a terminal."""

import lightning.pytorch as pl


class ValidationLine(pl.Callback):
    """Prints the step, the training loss and every validation metric in training; `validate` has a table of its own."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints above the progress bar."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or not trainer.is_global_zero:
            return
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        shown = {name: metrics[name] for name in metrics if name == "train/loss" or name.startswith("val/")}
        line = "  ".join(f"{name} {value:.4f}" for name, value in sorted(shown.items()))
        pl_module.print(f"step {trainer.global_step}: {line}")
