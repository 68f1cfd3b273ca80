"""How many optimiser steps a run has."""

import math

import lightning.pytorch as pl


def run_length(trainer: pl.Trainer) -> int | None:
    """Return the optimiser steps from a run's beginning to its end; None where only a time or an event ends it."""
    steps = trainer.estimated_stepping_batches
    return None if math.isinf(steps) else int(steps)
