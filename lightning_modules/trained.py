"""What every ranking module that is trained shares: its optimiser and schedule come from the config."""

from collections.abc import Callable
from typing import Any, ClassVar

from lightning.pytorch.trainer.states import TrainerFn
from torch import nn, zeros
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from datamodules import HistoryDataModule
from datamodules.base import StoredDataModule
from datamodules.errors import InputError
from lightning_modules.checkpoints import require_trained_data
from lightning_modules.optimizer_check import require_usable
from lightning_modules.ranking import RankingModule
from lightning_modules.run_length import run_length
from lightning_modules.schedule_factory import SchedulerFactory

OptimizerFactory = Callable[[Any], Optimizer]

__all__ = ["OptimizerFactory", "SchedulerFactory", "TrainedRankingModule"]


class TrainedRankingModule(RankingModule):
    """A ranking module with weights to train.

    Args:
        optimizer: Takes the trained parameters.
        lr_scheduler: Any schedule of torch or of this package, stepped after every optimiser step; `total_steps` and
            `T_max` default to the steps of the run, `max_lr` to the optimiser's rate.

    Attributes:
        numbered: What of the data the weights know by number: `tokens`, `items`, `users`.
    """

    numbered: ClassVar[tuple[str, ...]] = ()

    def __init__(self, optimizer: OptimizerFactory, lr_scheduler: SchedulerFactory | None = None) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._lr_scheduler = lr_scheduler

    def on_fit_start(self) -> None:
        """Refuses weights that are too coarse to be trained, see `require_float32`."""
        require_float32(self, "set trainer.precision to 32-true or bf16-mixed")

    def configure_optimizers(self) -> Any:
        """Optimises the parameters that are trained; the schedule runs over all of the trainer's steps.

        Raises:
            InputError: The optimiser or the schedule refuses its settings.
        """
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        try:
            optimizer = self._optimizer(trained)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"model.optimizer: {error}") from error
        require_usable(self._optimizer, self.trainer, self.device)
        if self._lr_scheduler is None:
            return optimizer
        scheduler = self._lr_scheduler(optimizer, num_steps=run_length(self.trainer))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps which data the weights are trained on."""
        data = self.trainer.datamodule
        if isinstance(data, StoredDataModule):
            checkpoint["data"] = data.record.plain()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks a checkpoint before Lightning loads it.

        Raises:
            InputError: Its weights were trained on data that mean something else to them, or training would go on with
                other rows.
        """
        data, stage = self.trainer.datamodule, TrainerFn(self.trainer.state.fn)
        if isinstance(data, StoredDataModule | HistoryDataModule):
            require_trained_data(checkpoint.get("data"), data.record, self.numbered, stage.value)

    def follow_schedule(
        self, num_steps: int | None, steps: int
    ) -> tuple[list[float], Optimizer, LRScheduler]:
        """Step the schedule of a run of another length, without training.

        Args:
            num_steps: Optimiser steps of that run; None where nobody knows.
            steps: Steps to take.

        Returns:
            The rate of each step; an optimiser without a weight of the model and the schedule, as they are after it.
        """
        assert self._lr_scheduler is not None
        optimizer = self._optimizer([nn.Parameter(zeros(1, 1))])
        schedule = self._lr_scheduler(optimizer, num_steps=num_steps)
        rates = []
        for _ in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            schedule.step()
        return rates, optimizer, schedule


def require_float32(module: nn.Module, remedy: str) -> None:
    """Refuses to train weights of fewer than 32 bits.

    A step changes a weight by about the learning rate. In bfloat16 the next number above .02 is .02012, so a change
    of 1e-5 is rounded away, at every step again.

    Args:
        module: The module on its device, as the trainer's precision left it.
        remedy: What to do instead.

    Raises:
        InputError: A trained weight has fewer than 32 bits.
    """
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    coarse = [weight for weight in trained if weight.dtype.itemsize < 4]
    if coarse:
        dtypes = " and ".join(sorted({str(weight.dtype).removeprefix("torch.") for weight in coarse}))
        raise InputError(
            f"{sum(weight.numel() for weight in coarse):,} of {sum(weight.numel() for weight in trained):,} trained "
            f"weights are {dtypes}, which rounds most updates at small learning rates away: {remedy}"
        )
