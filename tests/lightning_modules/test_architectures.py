"""Shared-prefix scores equal plain ones for every architecture, and the training pipeline runs on each."""

from pathlib import Path

import pytest
import torch

from datamodules.packing import pack
from lightning_modules.scoring import response_log_probs
from tests.cli import config, run, supervised, weights
from tests.lightning_modules.architectures import (
    ARCHITECTURES,
    each_architecture,
    save_tiny,
    tiny_model,
    tiny_tokenizer,
)
from tests.lightning_modules.test_scoring import plain_log_probs, ragged_batch


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_scores_equal_plain_ones(architecture: str) -> None:
    """Prompts of 1 to 19 tokens; a window is 4 to 6, so it ends inside the prompt, at its edge and in the response."""
    model = tiny_model(architecture, tiny_tokenizer(architecture)).double()
    prompts, responses = ragged_batch()
    weights = torch.randn(4, 5, dtype=torch.float64)
    trained = list(model.parameters())

    packed = response_log_probs(model, pack(prompts, responses))
    packed_gradients = torch.autograd.grad((packed * weights).sum(), trained)
    expected = plain_log_probs(model, prompts, responses)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), trained)

    torch.testing.assert_close(packed, expected, rtol=0, atol=1e-6)
    for found, gradient in zip(packed_gradients, expected_gradients, strict=True):
        scale = gradient.abs().max().clamp(min=1.0)
        torch.testing.assert_close(found / scale, gradient / scale, rtol=0, atol=1e-5)


@each_architecture
def test_both_stages_run_on_every_architecture(
    architecture: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SFT, then DynamicPO from it: every adapter is trained, and a checkpoint holds adapters and never the base."""
    monkeypatch.chdir(tmp_path)
    folder = save_tiny(architecture, Path("model"))
    sft = run("fit", "sft", pretrained(supervised(tiny_folder), folder)) / "checkpoints/last.ckpt"
    settings = pretrained(config(tiny_folder, init_from=str(sft)), folder)
    settings["model"]["init_args"]["gradient_checkpointing"] = True
    trained = run("fit", "dynamicpo", settings) / "checkpoints/last.ckpt"

    before, after = weights(sft), weights(trained)
    assert before.keys() == after.keys()
    assert len(after) == 2 * 7 * 2  # A and B, seven linear layers, two decoder layers
    assert all(".lora_" in name and ".policy." in name for name in after)
    assert not any(torch.equal(before[name], after[name]) for name in after)
    assert trained.stat().st_size < (folder / "model.safetensors").stat().st_size
    run("test", "dynamicpo", settings, "--ckpt_path", "last")


def pretrained(settings: dict, folder: Path) -> dict:
    settings["model"]["init_args"].update(
        language_model={
            "class_path": "lightning_modules.PretrainedLM",
            "init_args": {"name": str(folder)},
        },
        lora={"rank": 1, "dropout": 0.1},
    )
    settings["data"]["init_args"].update(tokenizer=str(folder), max_length=1024, max_val_examples=4)
    settings["trainer"].update(max_steps=4, val_check_interval=4)
    settings["last_checkpoint"]["every_n_train_steps"] = 4
    return settings
