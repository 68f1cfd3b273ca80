"""What loggers share that write one line per step."""

from abc import abstractmethod
from argparse import Namespace
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

Line = dict[str, Any]


class LineLogger(Logger):
    """Joins the metrics of a step to a line, and writes it once the next step begins.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self._pending: Line = {}

    @property
    def name(self) -> str:
        """Empty: the files stand in the run's folder itself."""
        return ""

    @property
    def version(self) -> str:
        """Empty: the files stand in the run's folder itself."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return self._folder

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return self._folder

    @abstractmethod
    def write(self, line: Line) -> None:
        """Writes a line: `step` and the metrics of that step."""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing: `config.yaml` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Adds metrics to the step's line; a new step writes the line before it."""
        if self._pending and self._pending["step"] != step:
            self.save()
        self._pending["step"] = step
        for name, value in metrics.items():
            self._pending[name] = value.item() if isinstance(value, Tensor) else value

    @rank_zero_only
    def save(self) -> None:
        """Writes the line in hand."""
        line, self._pending = self._pending, {}
        if line:
            self.write(line)

    def finalize(self, status: str) -> None:
        """Writes the line in hand."""
        self.save()
