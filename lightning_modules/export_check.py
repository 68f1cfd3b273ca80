"""Whether a written folder is the model that was trained: loaded as others load it, it scores a few examples."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric.utilities import move_data_to_device
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from datamodules.errors import InputError
from datamodules.packing import PackedBatch
from lightning_modules.attention import FLEX
from lightning_modules.hand_over import State
from lightning_modules.language_model import POLICY, causal_lm
from lightning_modules.scoring import response_log_probs

_EXPORTED = "exported"

Loaded = AbstractContextManager[PreTrainedModel | PeftModel]


@dataclass(frozen=True)
class ExportCheck:
    """A batch and its log-probabilities under the weights that are exported.

    Attributes:
        packed: A few prompts with their responses.
        expected: log π(y | x), shape [B, R].
        dtype: Of the model's weights.
    """

    packed: PackedBatch
    expected: Tensor
    dtype: torch.dtype

    @classmethod
    def of(cls, policy: PreTrainedModel | PeftModel, state: State, packed: PackedBatch) -> "ExportCheck":
        """Scores a batch under trained weights; the policy gets its own back.

        Args:
            policy: The model in memory.
            state: Trained weights, named as in `policy.state_dict()`.
            packed: What to score.
        """
        packed = move_data_to_device(packed, policy.device)
        with _weights(policy, state):
            return cls(packed, _scores(policy, packed), causal_lm(policy).dtype)

    def require_same(self, folder: Path, loaded: Loaded, remedy: str) -> float:
        """Compares an exported model with the run.

        Args:
            folder: Where it is to stand.
            loaded: Loads it.
            remedy: What the user can do where it differs.

        Returns:
            The largest difference of a log-probability.

        Raises:
            InputError: It cannot be loaded, or differs by more than rounding.
        """
        try:
            with loaded as model:
                found = _scores(model, move_data_to_device(self.packed, model.device))
        except Exception as error:  # readers of many formats raise whatever they meet
            reason = next(iter(str(error).strip().splitlines()), "") or repr(error)
            raise InputError(
                f"{folder} is not exported, since it cannot be loaded ({reason}): {remedy}"
            ) from error
        difference = (found - self.expected).abs()
        # A few roundings a token and of the sum: for four tokens and −30 nats .0014 in float32, 1.3 in bfloat16, to
        # which merging rounds weights.
        eps = torch.finfo(self.dtype).eps
        allowed = self.packed.lengths.cpu().clamp(min=4) * eps**0.5 + 4 * eps * self.expected.abs()
        if not bool((difference <= allowed).all()):
            raise InputError(
                f"{folder} is not exported, since its log-probabilities differ from the run's by up to "
                f"{difference.max().item():.2g} and rounding explains {allowed.max().item():.2g}: {remedy}"
            )
        return float(difference.max())


@contextmanager
def loaded_model(
    folder: str | Path, dtype: torch.dtype, revision: str | None = None
) -> Iterator[PreTrainedModel]:
    """Loads a whole model with plain transformers, in the type that the run's weights have."""
    yield AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, revision=revision).eval()


@contextmanager
def loaded_adapter(
    folder: Path, policy: PeftModel, base: str | Path, revision: str | None
) -> Iterator[PeftModel]:
    """Loads an adapter with plain peft: on a base loaded for it, or on the policy's own where that is quantised.

    A quantised base fits a machine once, and quantised anew it could differ.

    Args:
        folder: The adapter's.
        policy: The model in memory.
        base: Hub name or folder of the base.
        revision: Its commit or tag on the hub.
    """
    model = causal_lm(policy)
    if not getattr(model, "is_quantized", False):
        with loaded_model(base, model.dtype, revision) as plain:
            yield PeftModel.from_pretrained(plain, folder).eval()
        return
    training = policy.training
    policy.load_adapter(str(folder), adapter_name=_EXPORTED)
    try:
        policy.set_adapter(_EXPORTED)
        yield policy.eval()
    finally:
        policy.set_adapter(POLICY)
        policy.delete_adapter(_EXPORTED)
        policy.train(training)


@contextmanager
def _weights(policy: PreTrainedModel | PeftModel, state: State) -> Iterator[None]:
    own = {name: weight.clone() for name, weight in policy.state_dict().items() if name in state}
    training, model = policy.training, causal_lm(policy)
    implementation = model.config.get_text_config()._attn_implementation
    try:
        policy.load_state_dict(state, strict=False)
        policy.eval()
        if implementation == FLEX:  # made for CUDA, which a trainer has left when it ends
            model.set_attn_implementation("sdpa")
        yield
    finally:
        if implementation == FLEX:
            model.set_attn_implementation(FLEX)
        policy.train(training)
        policy.load_state_dict(own, strict=False)


@torch.no_grad()
def _scores(model: PreTrainedModel | PeftModel, packed: PackedBatch) -> Tensor:
    return response_log_probs(causal_lm(model), packed).cpu()
