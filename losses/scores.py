"""What goes into an objective and what comes out of it: tensors, with their shapes checked.

Shapes, dtypes and settings are checked in the call, because that is free. Values (an all-masked row, a NaN)
live on the device: looking at them waits for it, so `ResponseScores.check_values` is for whoever can afford
that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def check_shape(name: str, tensor: Tensor, shape: Sequence[int], meaning: str) -> None:
    """Raise where a tensor has not the shape that its role demands.

    Args:
        name: The argument, as the caller wrote it.
        tensor: Its value.
        shape: The shape it must have.
        meaning: That shape in words, such as "[B, K]".

    Raises:
        ValueError: The shapes differ.
    """
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, expected {tuple(shape)} = {meaning}: "
            "give one column per response, in the order of policy's columns"
        )


def check_selected(selected: Tensor, present: Tensor) -> None:
    """Raise where a selection is not a mask of the negatives.

    Args:
        selected: The selection to check.
        present: `[B, K]` bool, the negatives it selects from.

    Raises:
        ValueError: Its shape differs or it is not boolean.
    """
    check_shape("selected", selected, present.shape, "[B, K]")
    if selected.dtype != torch.bool:
        raise ValueError(
            f"selected has dtype {selected.dtype}, expected torch.bool: compare, or call .bool()"
        )


@dataclass(frozen=True, eq=False)
class ResponseScores:
    """Log-probabilities of the 1 + K responses to each of B prompts; column 0 is the positive.

    Attributes:
        policy: `[B, 1 + K]` float, log π(y|x) in nats, summed over the response's tokens, EOS included.
            Carries gradient.
        reference: `[B, 1 + K]` float, the same under the frozen reference model, or None. Never receives
            gradient.
        mask: `[B, K]` bool, True where a negative is there; None means all are. What stands in masked columns
            is ignored, NaN included.
        lengths: `[B, 1 + K]`, number of response tokens, EOS included (at least 1); None where unused.
        draws: `[B, K]` float, uniforms in [0, 1) from (seed, epoch, example id), for random selection; None
            where unused.

    Raises:
        ValueError: A shape or dtype does not fit, or there is no negative (K = 0).
    """

    policy: Tensor
    reference: Tensor | None = None
    mask: Tensor | None = None
    lengths: Tensor | None = None
    draws: Tensor | None = None

    def __post_init__(self) -> None:
        """Check shapes and dtypes; reads no value, so waits for no device."""
        shape = tuple(self.policy.shape)
        if len(shape) != 2:
            raise ValueError(f"policy has shape {shape}, expected [B, 1 + K]: give a row per prompt")
        batch, columns = shape
        if columns < 2:
            raise ValueError(f"policy has shape {shape}, so K = {columns - 1}: give at least one negative")
        for name, tensor, width, meaning in (
            ("reference", self.reference, columns, "[B, 1 + K]"),
            ("mask", self.mask, columns - 1, "[B, K]"),
            ("lengths", self.lengths, columns, "[B, 1 + K]"),
            ("draws", self.draws, columns - 1, "[B, K]"),
        ):
            if tensor is not None:
                check_shape(name, tensor, (batch, width), meaning)
        for name, tensor in (("policy", self.policy), ("reference", self.reference), ("draws", self.draws)):
            if tensor is not None and not tensor.is_floating_point():
                raise ValueError(
                    f"{name} has dtype {tensor.dtype}, expected a floating-point one: call .float()"
                )
        if self.mask is not None and self.mask.dtype != torch.bool:
            raise ValueError(
                f"mask has dtype {self.mask.dtype}, expected torch.bool: compare, or call .bool()"
            )

    @property
    def present(self) -> Tensor:
        """`[B, K]` bool, the negatives that are there."""
        if self.mask is not None:
            return self.mask
        return torch.ones_like(self.policy[:, 1:], dtype=torch.bool)

    @property
    def columns(self) -> Tensor:
        """`[B, 1 + K]` bool, the responses that are there: `present` behind the positive, which always is."""
        return torch.nn.functional.pad(self.present, (1, 0), value=True)

    def log_probs(self) -> Tensor:
        """Policy log-probabilities ready to compute with.

        Returns:
            `[B, 1 + K]`, at least float32, 0 in masked columns, differentiable; no gradient reaches a masked
            column.
        """
        return torch.where(self.columns, self.policy, 0.0).to(
            torch.promote_types(self.policy.dtype, torch.float32)
        )

    def log_ratios(self) -> Tensor:
        """Log-ratios r = log π(y|x) − log π_ref(y|x).

        Returns:
            `[B, 1 + K]`, at least float32, 0 in masked columns, differentiable in the policy alone.

        Raises:
            ValueError: There is no reference.
        """
        if self.reference is None:
            raise ValueError(
                "reference is None: log-ratios need the reference model's log-probabilities, give them"
            )
        # Both terms are cleaned before the subtraction, so that a masked NaN meets no arithmetic on its way
        # back.
        log_probs = self.log_probs()
        return log_probs - torch.where(self.columns, self.reference.detach(), 0.0).to(log_probs.dtype)

    def check_values(self) -> None:
        """Check what only the values tell. Waits for the device once: call it at collate or at logged steps.

        Raises:
            ValueError: A row has no negative, or something that is not masked is not finite or is a length
                below 1. Names the row.
        """
        columns, present = self.columns, self.present
        bad = [~present.any(dim=1)]
        faults = ["mask leaves no negative: drop the example, or draw negatives for it"]
        for name, tensor, there in (
            ("policy", self.policy, columns),
            ("reference", self.reference, columns),
            ("draws", self.draws, present),
        ):
            if tensor is not None:
                bad.append((~tensor.isfinite() & there).any(dim=1))
                faults.append(f"{name} is not finite: look for NaN in the model or an overflow in float16")
        if self.lengths is not None:
            bad.append((~(self.lengths >= 1) & columns).any(dim=1))
            faults.append("lengths is below 1: count the response's tokens, EOS included")
        for fault, rows in zip(faults, torch.stack(bad).tolist(), strict=True):
            if any(rows):
                raise ValueError(f"row {rows.index(True)}: {fault}")


@dataclass(frozen=True, eq=False)
class ObjectiveOutput:
    """What an objective returns, one row per prompt.

    Attributes:
        loss: `[B]`, in nats, differentiable in the policy's log-probabilities. The caller takes the mean.
        selected: `[B, K]` bool, the negatives that entered the loss.
        beta: `[B, K]`, their temperatures, 0 where not selected. Detached.
        rewards: `[B, 1 + K]`, base β times the log-ratio, or times the log-probability where the objective
            has no reference; 0 in masked columns. Detached.

    Raises:
        ValueError: The shapes do not belong together.
    """

    loss: Tensor
    selected: Tensor
    beta: Tensor
    rewards: Tensor

    def __post_init__(self) -> None:
        """Check that the four shapes belong together."""
        batch, columns = self.rewards.shape
        check_shape("loss", self.loss, (batch,), "[B]")
        check_shape("selected", self.selected, (batch, columns - 1), "[B, K]")
        check_shape("beta", self.beta, (batch, columns - 1), "[B, K]")
