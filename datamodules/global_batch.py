"""How many prompts an optimiser step sees, over all processes and accumulated batches."""

from dataclasses import dataclass

from datamodules.errors import InputError


@dataclass(frozen=True)
class GlobalBatch:
    """The prompts of an optimiser step.

    Attributes:
        processes: Processes that train together.
        batch_size: Prompts per process and batch.
        accumulated: Batches of a process whose gradients are added up for a step.
    """

    processes: int
    batch_size: int
    accumulated: int = 1

    @classmethod
    def of_size(cls, size: int, processes: int, batch_size: int) -> "GlobalBatch":
        """Derives how many batches are accumulated.

        Raises:
            InputError: The processes' batches do not add up to `size`.
        """
        at_once = processes * batch_size
        if size % at_once:
            below, above = size // at_once * at_once, (size // at_once + 1) * at_once
            raise InputError(
                f"data.global_batch_size {size} is no multiple of {cls(processes, batch_size)._product(2)} = "
                f"{at_once}: take {f'{below} or ' if below else ''}{above}, or another data.batch_size"
            )
        return cls(processes, batch_size, size // at_once)

    @property
    def size(self) -> int:
        """Prompts of a step."""
        return self.processes * self.batch_size * self.accumulated

    def __str__(self) -> str:
        return f"global batch {self.size} = {self._product(3)}"

    def _product(self, factors: int) -> str:
        processes = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        names = (processes, f"{self.batch_size} prompts", f"{self.accumulated} accumulated")
        return " × ".join(names[:factors])

    def go_on_from(self, then: "GlobalBatch", batches: int) -> int:
        """Translates a position in the epoch: the batches that this one has had after the same steps.

        Gradients that were accumulated for an unfinished step are in no checkpoint, so its batches are taken again.

        Args:
            then: The global batch a checkpoint was trained with.
            batches: Batches of a process in that epoch.

        Raises:
            InputError: The steps would no longer see the same examples.
        """
        if then.size != self.size:
            raise InputError(
                f"the checkpoint was trained with {then}, here it is {self}: the steps would no longer see the same "
                f"examples; processes × batch_size × accumulated must stay {then.size}, as it does with "
                f"data.global_batch_size {then.size}"
            )
        return batches // then.accumulated * self.accumulated
