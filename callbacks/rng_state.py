"""Random number generators in the checkpoint, which Lightning leaves out."""

import random
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch


class RNGState(pl.Callback):
    """Saves and restores the state of Python's, NumPy's and torch's generators, for a bit-identical resume.

    The state is restored when training starts, after everything that Lightning does to set up has drawn from the
    generators. Ranks other than 0 resume with the state of rank 0: nothing in this project draws from a generator in a
    step but dropout, and preference training has none.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The generators' states in plain types, loadable with `weights_only`."""
        name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        version, internal, next_gauss = random.getstate()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, gauss],
            "python": [version, list(internal), next_gauss],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the states for `on_train_start`."""
        self._restored = state_dict

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the states."""
        if self._restored is None:
            return
        torch.set_rng_state(self._restored["torch"].cpu())
        if self._restored["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(self._restored["cuda"].cpu())
        name, keys, *rest = self._restored["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
        version, internal, next_gauss = self._restored["python"]
        random.setstate((version, tuple(internal), next_gauss))
        self._restored = None
