"""The frozen reference π_ref: a second adapter on the same base, or a frozen copy."""

import copy
from abc import ABC, abstractmethod

import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn
from transformers import PreTrainedModel

from datamodules.batches import Batch
from lightning_modules.language_model import POLICY, REFERENCE
from lightning_modules.scoring import response_log_probs


class Reference(nn.Module, ABC):
    """Scores responses under the policy as it was when the reference was made."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Computes log π_ref(y | x) without gradients, shape [B, R]."""


class FrozenCopy(Reference):
    """A frozen copy of all weights, for full fine-tuning."""

    def __init__(self, policy: PreTrainedModel) -> None:
        super().__init__()
        self.model = copy.deepcopy(policy).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FrozenCopy":
        """Stays in evaluation mode, whatever Lightning asks of its parent."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        """Scores with the copy."""
        return response_log_probs(self.model, batch.packed)


class FrozenAdapter(Reference):
    """A frozen second adapter on the policy's base: one base model serves both."""

    def __init__(self, policy: PeftModel) -> None:
        super().__init__()
        policy.add_adapter(REFERENCE, policy.peft_config[POLICY])
        weights = get_peft_model_state_dict(policy, adapter_name=POLICY)
        set_peft_model_state_dict(policy, weights, adapter_name=REFERENCE)
        # In a tuple, so that the policy is not registered a second time as a submodule.
        self._policy = (policy,)
        self._activate(POLICY)

    def _activate(self, adapter: str) -> None:
        """Switches adapters; PEFT makes a newly active adapter trainable unless told that it is for inference."""
        (policy,) = self._policy
        policy.base_model.set_adapter(adapter, inference_mode=adapter == REFERENCE)
        if adapter == POLICY:
            for name, parameter in policy.named_parameters():
                if f".{POLICY}." in name or f".{REFERENCE}." in name:
                    parameter.requires_grad_(f".{POLICY}." in name)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        """Scores with the reference adapter and switches back."""
        (policy,) = self._policy
        self._activate(REFERENCE)
        try:
            return response_log_probs(policy.get_base_model(), batch.packed)
        finally:
            self._activate(POLICY)


def freeze_reference(policy: PreTrainedModel | PeftModel) -> Reference:
    """Freezes the policy as it is now."""
    return FrozenAdapter(policy) if isinstance(policy, PeftModel) else FrozenCopy(policy)
