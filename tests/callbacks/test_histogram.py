import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lightning.pytorch import Trainer

from callbacks.histogram import Histogram


def trainer() -> Trainer:
    return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)


@given(values=arrays(np.float64, (4, 5), elements=st.floats(-10, 10)), where=arrays(np.bool_, (4, 5)))
def test_counts_are_numpys(values: np.ndarray, where: np.ndarray) -> None:
    """What lies outside goes to the outermost bins; what does not count may be anything."""
    histogram = Histogram(-4.0, 4.0, 8)
    values = np.where(
        np.isclose(values, np.round(values)), np.round(values), values
    )  # no rounding at an edge
    histogram.add(torch.from_numpy(np.where(where, values, np.nan)), torch.from_numpy(where))
    expected, edges = np.histogram(np.clip(values[where], -4, 4 - 1e-9), bins=8, range=(-4, 4))
    assert histogram.edges.tolist() == edges.tolist()
    assert histogram.reduce(trainer()).tolist() == expected.tolist()
    assert histogram.reduce(trainer()).tolist() == [0] * 8


def test_what_is_no_number_is_in_no_bin() -> None:
    """A loss that is no number ends a run with a line of its own, not with an index out of range."""
    histogram = Histogram(0.0, 2.0, 2)
    histogram.add(torch.tensor([float("nan"), 1.5, float("-inf")]), torch.ones(3, dtype=torch.bool))
    assert histogram.reduce(trainer()).tolist() == [1, 1]


def test_a_restored_histogram_goes_on() -> None:
    whole, first, second = (Histogram(0.0, 3.0, 3) for _ in range(3))
    everywhere = torch.ones(2, dtype=torch.bool)
    for histogram in (whole, first):
        histogram.add(torch.tensor([0.5, 1.5]), everywhere)
    second.load_state_dict(first.state_dict(), torch.device("cpu"))
    for histogram in (whole, second):
        histogram.add(torch.tensor([1.6, 7.0]), everywhere)
    assert second.reduce(trainer()).tolist() == whole.reduce(trainer()).tolist() == [1, 2, 1]
    empty = Histogram(0.0, 3.0, 3)
    empty.load_state_dict(empty.state_dict(), torch.device("cpu"))
    assert empty.reduce(trainer()).tolist() == [0, 0, 0]


def test_what_is_not_a_number_counts_nowhere() -> None:
    """It must not end training before `FiniteLoss` says what happened; infinities lie beyond the outermost bins."""
    histogram = Histogram(0.0, 3.0, 3)
    values = torch.tensor([torch.nan, torch.inf, -torch.inf, 1.5])
    histogram.add(values, torch.ones(4, dtype=torch.bool))
    assert histogram.reduce(trainer()).tolist() == [1, 1, 1]
