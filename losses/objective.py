"""What every multi-negative objective shares: one call, a mask of negatives and a β for each."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from losses.beta import check_base_beta
from losses.scores import ObjectiveOutput, ResponseScores, check_selected, check_shape


class Objective(nn.Module, ABC):
    """A preference objective over one positive and K negatives per prompt.

    A concrete objective gives `loss`, and the attributes that say what it must be fed.

    Args:
        beta: Base temperature β ≥ 0.

    Attributes:
        beta: Base temperature.
        needs_reference: Whether the reference model's log-probabilities must be given.
        needs_lengths: Whether the responses' lengths must be given.
        needs_draws: Whether uniforms must be given.
        most_negatives: The largest K; None where any will do.

    Raises:
        ValueError: beta is negative or not finite.
    """

    needs_reference: bool = False
    needs_lengths: bool = False
    needs_draws: bool = False
    most_negatives: int | None = None

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = check_base_beta(beta)

    @abstractmethod
    def loss(self, values: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
        """Loss per prompt.

        Args:
            values: `[B, 1 + K]`, what the objective compares: log-ratios, or log-probabilities without a
                reference.
            selected: `[B, K]` bool, the negatives that enter.
            beta: `[B, K]`, their temperatures.

        Returns:
            `[B]`.
        """

    def view(self, scores: ResponseScores) -> ResponseScores:
        """The scores as this objective reads them, which are also those that selection and β have to see.

        Args:
            scores: Summed log-probabilities.

        Returns:
            The same, unless the objective works on another scale (`MPPO` with mean log-probabilities).
        """
        return scores

    def forward(
        self, scores: ResponseScores, selected: Tensor | None = None, beta: Tensor | None = None
    ) -> ObjectiveOutput:
        """Compute the loss of each prompt; nothing here waits for the device.

        Args:
            scores: Log-probabilities of the responses.
            selected: `[B, K]` bool, the negatives that enter; None means all. Masked ones never enter. A
                prompt without any gets no gradient.
            beta: `[B, K]`, a temperature per negative; None means the base β.

        Returns:
            Loss, selection, temperatures and rewards.

        Raises:
            ValueError: A shape does not fit, or what the objective needs is missing.
        """
        values = self._values(scores)
        present = scores.present
        if selected is None:
            selected = present
        check_selected(selected, present)
        selected = selected & present
        if beta is None:
            beta = torch.full_like(values[:, 1:], self.beta)
        check_shape("beta", beta, present.shape, "[B, K]")
        beta = torch.where(selected, beta.to(values.dtype), 0.0)
        return ObjectiveOutput(
            loss=self.loss(values, selected, beta),
            selected=selected,
            beta=beta.detach(),
            rewards=self.beta * values.detach(),
        )

    def _values(self, scores: ResponseScores) -> Tensor:
        """`[B, 1 + K]`: log-ratios, or log-probabilities where the objective has no reference."""
        if not self.needs_reference:
            return self.view(scores).log_probs()
        if scores.reference is None:
            raise ValueError(
                f"reference is None but {type(self).__name__} compares with a reference model: "
                "give its log-probabilities, or use MPPO, which needs none"
            )
        return self.view(scores).log_ratios()


def split(values: Tensor, selected: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Part the positive from the negatives and silence the negatives that were not selected.

    Args:
        values: `[B, 1 + K]`.
        selected: `[B, K]` bool.
        beta: `[B, K]`.

    Returns:
        The positive `[B, 1]`, the negatives and their β `[B, K]`; the last two are 0 where not selected, and
        no gradient passes there.
    """
    return values[:, :1], torch.where(selected, values[:, 1:], 0.0), torch.where(selected, beta, 0.0)
