"""Computing activations again gives the same run."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import pytest
import torch

from datamodules.batches import Batch
from datamodules.packing import pack
from lightning_modules import LoRA
from lightning_modules.language_model import causal_lm
from lightning_modules.reference import freeze_reference
from lightning_modules.scoring import response_log_probs
from tests.cli import config, run, supervised, weights
from tests.lightning_modules.architectures import tiny_model, tiny_tokenizer
from tests.lightning_modules.test_scoring import ragged_batch


def count_calls(policy, calls: list[int]) -> None:
    layer = causal_lm(policy).get_decoder().layers[0]
    layer.input_layernorm.register_forward_hook(lambda *_: calls.append(1))


class CountCalls(pl.Callback):
    """Counts how often a layer is computed in the first step."""

    found: ClassVar[list[int]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if trainer.global_step == 0:
            self.found.clear()
            count_calls(pl_module.policy, self.found)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        trainer.should_stop = True


def step(
    architecture: str, checkpointing: bool, lora: bool, precision: str
) -> tuple[list[torch.Tensor], int]:
    """Scores under reference and policy; returns log-ratios and gradients, and how often a layer was computed."""
    model = tiny_model(architecture, tiny_tokenizer(architecture))
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    torch.manual_seed(0)
    policy = LoRA(rank=2, dropout=0.0).apply(model) if lora else model
    reference = freeze_reference(policy)
    trained = [weight for weight in policy.parameters() if weight.requires_grad]
    for weight in trained:
        torch.nn.init.normal_(weight, std=0.1)
    policy.train()
    packed, calls = pack(*ragged_batch()), []
    with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
        against = reference(Batch(packed, *[torch.empty(0)] * 6))
        count_calls(policy, calls)
        scores = response_log_probs(causal_lm(policy), packed) - against
    gradients = torch.autograd.grad((scores * torch.arange(5)).sum(), trained)
    return [scores.detach(), *gradients], len(calls)


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("architecture", ["llama3", "gemma3"])
def test_scores_and_gradients_are_the_same(architecture: str, lora: bool, precision: str) -> None:
    """With adapters no input needs a gradient, and the layer is computed again under the policy's adapter."""
    (plain, once), (checkpointed, twice) = (
        step(architecture, checkpointing, lora, precision) for checkpointing in (False, True)
    )
    assert (once, twice) == (1, 2)
    assert all(torch.equal(left, right) for left, right in zip(plain, checkpointed, strict=True))
    assert all(gradient.abs().sum() > 0 for gradient in plain[1:])


@pytest.mark.parametrize(("make", "calls"), [(supervised, 2), (config, 3)])
def test_it_is_a_setting_of_both_stages(make, calls: int, tiny_folder: Path, tmp_path, monkeypatch) -> None:
    """Forward and again in the backward pass; the reference computes the shared layer once."""
    monkeypatch.chdir(tmp_path)
    settings = make(tiny_folder)
    settings["model"]["init_args"].update(gradient_checkpointing=True, lora={"rank": 2})
    settings["trainer"]["callbacks"] = [{"class_path": f"{__name__}.CountCalls"}]
    settings["trainer"]["limit_val_batches"] = 0
    run("fit", "counted", settings)
    assert len(CountCalls.found) == calls


@pytest.mark.parametrize("make", [supervised, config])
def test_a_run_is_bit_identical(make, tiny_folder: Path, tmp_path: Path, monkeypatch) -> None:
    """Dropout too is drawn again as it was."""
    monkeypatch.chdir(tmp_path)
    found = []
    for checkpointing in (False, True):
        settings = make(tiny_folder)
        settings["model"]["init_args"].update(
            gradient_checkpointing=checkpointing, lora={"rank": 2, "dropout": 0.3}
        )
        settings["trainer"].update(max_steps=4, val_check_interval=2)
        folder = run("fit", f"checkpointing-{checkpointing}", settings)
        found.append(weights(folder / "checkpoints/last.ckpt"))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
