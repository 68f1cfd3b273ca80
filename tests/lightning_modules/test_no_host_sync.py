"""On the meta device tensors have no values: whatever waits for one (`item`, `nonzero`, a boolean index) raises."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

from callbacks import (
    BoundaryProportion,
    CollapseAlarm,
    DifficultyRewards,
    FiniteLoss,
    GradientSuppression,
    TrainingMetrics,
)
from callbacks.histogram import Histogram
from lightning_modules import LoRA, PreferenceModule, SmallLlama, SupervisedModule
from lightning_modules.reference import freeze_reference
from lightning_modules.reference_cache import CachedReference
from losses import DMPO, DynamicPO


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("lora", [None, LoRA(rank=2, dropout=0.0)])
def test_a_preference_step_between_log_lines_waits_for_nothing(
    make_data, lora: LoRA | None, cached: bool
) -> None:
    data = make_data(num_negatives=3)
    batch = next(iter(data.train_dataloader()))
    model = SmallLlama(hidden_size=32, num_hidden_layers=1).build(data.tokenizer)
    module = PreferenceModule(SmallLlama(), DynamicPO(DMPO(beta=1.0)), torch.optim.AdamW, lora=lora)
    module.policy = lora.apply(model) if lora else model
    module.reference = freeze_reference(module.policy)
    if cached:
        module.reference = CachedReference(
            *(torch.zeros(5, dtype=torch.long), torch.zeros(5, 8, dtype=torch.long), torch.zeros(5, 8))
        )
    own = [BoundaryProportion(), GradientSuppression(every_n_steps=50), DifficultyRewards(), CollapseAlarm()]
    _steps_without_values(module, batch, *own)


def test_a_supervised_step_between_log_lines_waits_for_nothing(make_data) -> None:
    data = make_data()
    batch = next(iter(data.train_dataloader()))
    module = SupervisedModule(SmallLlama(), torch.optim.AdamW, history_weight=0.3)
    module.policy = SmallLlama(hidden_size=32, num_hidden_layers=1).build(data.tokenizer)
    _steps_without_values(module, batch)


def test_counting_waits_for_nothing() -> None:
    histogram = Histogram(0.0, 1.0, 4)
    for _ in range(2):
        histogram.add(torch.zeros(3, 5, device="meta"), torch.zeros(3, 5, dtype=torch.bool, device="meta"))


def _steps_without_values(module: pl.LightningModule, batch, *own: pl.Callback) -> None:
    module.to("meta")
    trainer = pl.Trainer(accelerator="cpu", logger=False, log_every_n_steps=10, enable_checkpointing=False)
    callbacks = [TrainingMetrics(), FiniteLoss(), *own]
    for callback in callbacks:
        callback.on_train_start(trainer, module)
    for index in range(2):
        there = move_data_to_device(batch, torch.device("meta"))
        outputs = module.training_step(there, index)
        assert outputs["loss"].device.type == "meta"
        outputs["loss"].backward()
        for callback in callbacks:
            callback.on_train_batch_end(trainer, module, outputs, there, index)
    assert all(
        parameter.grad is not None for parameter in module.policy.parameters() if parameter.requires_grad
    )
