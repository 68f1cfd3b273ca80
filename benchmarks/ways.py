"""Three ways to the same loss: ours, the usual one, TRL's. Each builds a step that is run again and again."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from benchmarks.usual import dynamicpo, repeat_prompts, sequence_log_probs
from benchmarks.workload import Workload, move_away
from lightning_modules import PreferenceModule
from lightning_modules.reference import freeze_reference
from lightning_modules.reference_cache import CachedReference
from losses import DMPO, DynamicPO


@dataclass(frozen=True)
class Outcome:
    """What a step computed.

    Attributes:
        loss: With its graph, a scalar.
        policy: log π(y | x), shape [B, 1 + K]; None where the way does not tell.
        rewards: Log-ratios, shape [B, 1 + K]; None where the way does not tell.
        selected: Negatives in the loss, shape [B, K]; None means all.
    """

    loss: Tensor
    policy: Tensor | None = None
    rewards: Tensor | None = None
    selected: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """A step ready to run.

    Attributes:
        forward: Computes the loss, reference included.
        trained: What is trained; its gradients are computed.
        tokens: Tokens that go through the policy, padding included.
    """

    forward: Callable[[], Outcome]
    trained: nn.Module
    tokens: int


def ours(workload: Workload) -> Step:
    """The training step of `PreferenceModule`, reference forward included."""
    data = workload.data_module()
    batch = workload.batch(data)
    module = PreferenceModule(workload.language_model(), DynamicPO(DMPO(beta=1.0)), AdamW)
    module.policy = workload.policy(data)
    module.reference = freeze_reference(module.policy)
    move_away(module.policy)

    def forward() -> Outcome:
        facts = module.training_step(batch, 0)
        return Outcome(facts["loss"], facts["policy"], facts["rewards"], facts["selected"])

    return Step(forward, module, batch.packed.input_ids.numel())


def ours_cached(workload: Workload) -> Step:
    """The same with the reference's log-probabilities looked up."""
    step = ours(workload)
    batch = workload.batch(workload.data_module())
    by_id = batch.id.argsort()
    log_probs = step.trained.reference(batch)  # type: ignore[operator]
    step.trained.reference = CachedReference(batch.id[by_id], batch.items[by_id], log_probs[by_id])
    return step


def usual(workload: Workload) -> Step:
    """Repeated prompts, all logits, a second full model, k-means per example."""
    data = workload.data_module()
    batch = repeat_prompts(workload.batch(data).packed)
    policy = workload.policy(data)
    reference = copy.deepcopy(policy).requires_grad_(False).eval()
    move_away(policy)

    def forward() -> Outcome:
        log_probs = sequence_log_probs(policy, batch)
        with torch.no_grad():
            known = sequence_log_probs(reference, batch)
        loss, selected = dynamicpo(log_probs, known)
        return Outcome(loss, log_probs.detach(), (log_probs - known).detach(), selected)

    return Step(forward, policy, batch.input_ids.numel())


def trl(workload: Workload) -> Step:
    """TRL's DPO, imported late because it is an extra."""
    from benchmarks.trl_dpo import build

    return build(workload)


WAYS: dict[str, Callable[[Workload], Step]] = {
    "ours": ours,
    "ours_cached": ours_cached,
    "usual": usual,
    "trl": trl,
}
