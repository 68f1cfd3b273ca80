"""Random number generators in the checkpoint, which Lightning leaves out."""

import random
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from callbacks.ranks import of_all_ranks


class RNGState(pl.Callback):
    """Saves and restores the state of Python's, NumPy's and torch's generators, for a bit-identical resume.

    Every process has its own: dropout draws as many numbers as its batches have tokens. The state is restored when
    training starts, after everything that Lightning does to set up has drawn from the generators.
    """

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The generators' states of every process in plain types, loadable with `weights_only`."""
        return {"ranks": of_all_ranks(_generators())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the states for `on_train_start`."""
        self._restored = state_dict["ranks"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores this process's states; processes that the checkpoint did not know share those it did."""
        if self._restored is not None:
            _restore(self._restored[trainer.global_rank % len(self._restored)])
            self._restored = None


def _generators() -> dict[str, Any]:
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, internal, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "python": [version, list(internal), next_gauss],
    }


def _restore(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    version, internal, next_gauss = state["python"]
    random.setstate((version, tuple(internal), next_gauss))
