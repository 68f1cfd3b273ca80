"""Shared-prefix scores equal plain ones for every architecture, and the training pipeline runs on each."""

import pytest
import torch

from datamodules.packing import pack
from lightning_modules.scoring import response_log_probs
from tests.lightning_modules.architectures import ARCHITECTURES, tiny_model, tiny_tokenizer
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
