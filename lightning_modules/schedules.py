"""Learning rates over a run; the number of steps is the trainer's, so that it is set in one place."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from datamodules.checks import require_at_least


class LinearWarmup(LambdaLR):
    """Rises linearly to the optimiser's rate, then falls linearly to 0.

    Args:
        optimizer: The optimiser.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the rise.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 0) -> None:
        require_at_least(1, total_steps=total_steps)
        require_at_least(0, warmup_steps=warmup_steps)

        def factor(step: int) -> float:
            if step < warmup_steps:
                return (step + 1) / warmup_steps
            return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))

        super().__init__(optimizer, factor)


class CosineWarmup(LambdaLR):
    """Rises linearly to the optimiser's rate, then falls along a half cosine to 0.

    Args:
        optimizer: The optimiser.
        total_steps: Steps of the whole run.
        warmup_share: Share of the steps that rise.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_share: float = 0.05) -> None:
        require_at_least(1, total_steps=total_steps)
        if not 0 <= warmup_share <= 1:
            raise ValueError(f"warmup_share={warmup_share} must lie in 0..1")
        warmup_steps = math.ceil(warmup_share * total_steps)

        def factor(step: int) -> float:
            if step < warmup_steps:
                return (step + 1) / warmup_steps
            progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

        super().__init__(optimizer, factor)
