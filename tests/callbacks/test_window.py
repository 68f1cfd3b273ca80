import torch
from lightning.pytorch import Trainer

from callbacks.window import Window


def trainer() -> Trainer:
    return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)


def test_means_weigh_every_value_alike_and_not_every_batch() -> None:
    """Batch 1 counts 1 of 1, batch 2 counts 0 of 3: the share is 1/4, the mean of the shares would be 1/2."""
    window = Window()
    window.add("share", torch.tensor([1.0]))
    window.add("share", torch.zeros(4), torch.tensor([True, True, True, False]))
    assert window.reduce(trainer()) == {"share": 0.25}
    assert window.reduce(trainer()) == {}


def test_values_that_do_not_count_may_be_anything() -> None:
    window = Window()
    values = torch.tensor([2.0, float("nan"), float("inf")])
    where = torch.tensor([True, False, False])
    window.add("mean", values, where)
    window.add_minimum("least", values, where)
    window.add_maximum("most", torch.tensor([2.0, float("inf"), 7.0]), where)
    window.add("nothing", values, torch.zeros(3))
    assert window.reduce(trainer()) == {"mean": 2.0, "least": 2.0, "most": 2.0}


def test_a_restored_window_goes_on() -> None:
    whole, first, second = Window(), Window(), Window()
    for window in (whole, first):
        window.add("a", torch.tensor([1.0, 2.0]))
        window.add_minimum("b", torch.tensor([4.0]), torch.tensor([True]))
    second.load_state_dict(first.state_dict(), torch.device("cpu"))
    for window in (whole, second):
        window.add("a", torch.tensor([6.0]))
        window.add_minimum("b", torch.tensor([5.0]), torch.tensor([True]))
    assert second.reduce(trainer()) == whole.reduce(trainer()) == {"a": 3.0, "b": 4.0}
