from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer

from callbacks import BoundaryProportion
from callbacks.boundary_proportion import _stage_ended


def test_rates_and_margins_by_hand() -> None:
    """Two examples, the second with two negatives only.

    Example 1: s_w = -1, negatives -0.5 (violation, B), -3, -5 (S). Example 2: s_w = -1, negatives -2 (B), -6 (S).
    B: 2 of 5, S: 3 of 5, violations 1 of 5. Margin s_w − s_i over B: (-0.5 + 1) / 2 = 0.25. Mean of B minus mean of S:
    (-0.5 + 4) and (-2 + 6), mean 3.75. β of the selected: 0.6 and 1.2.
    """
    outputs = {
        "compared": torch.tensor([[-1, -0.5, -3, -5], [-1, -2, -6, -9.0]]),
        "mask": torch.tensor([[True, True, True], [True, True, False]]),
        "boundary": torch.tensor([[True, False, False], [True, False, False]]),
        "selected": torch.tensor([[True, False, False], [True, False, False]]),
        "beta": torch.tensor([[0.6, 0, 0], [1.2, 0, 0]]),
    }
    callback = BoundaryProportion()
    callback.collect(callback._window, outputs, SimpleNamespace())
    found = callback._window.reduce(Trainer(accelerator="cpu", logger=False, barebones=True))
    expected = {
        "boundary/proportion": 0.4,
        "boundary/easy_proportion": 0.6,
        "boundary/violation_rate": 0.2,
        "margin/positive_to_boundary": 0.25,
        "margin/boundary_to_easy": 3.75,
        "beta/mean": 0.9,
        "beta/min": 0.6,
        "beta/max": 1.2,
    }
    assert found == pytest.approx(expected)


def test_stages_are_thirds() -> None:
    ended = [_stage_ended(step - 1, step, 10) for step in range(1, 11)]
    assert ended == [None, None, None, 1, None, None, 2, None, None, 3]
    assert _stage_ended(4, 4, 10) is None, "a batch that only accumulates ends nothing"
