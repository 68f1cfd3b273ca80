"""What every ranking module that is trained shares: its optimiser and schedule come from the config."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_modules.ranking import RankingModule

OptimizerFactory = Callable[[Any], Optimizer]
SchedulerFactory = Callable[[Optimizer, int], LRScheduler]


class TrainedRankingModule(RankingModule):
    """A ranking module with weights to train.

    Args:
        optimizer: Takes the trained parameters.
        lr_scheduler: Takes the optimiser and the number of steps; stepped after every optimiser step.
    """

    def __init__(self, optimizer: OptimizerFactory, lr_scheduler: SchedulerFactory | None = None) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._lr_scheduler = lr_scheduler

    def configure_optimizers(self) -> Any:
        """Optimises the parameters that are trained; the schedule runs over all of the trainer's steps."""
        optimizer = self._optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])
        if self._lr_scheduler is None:
            return optimizer
        scheduler = self._lr_scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
