"""Any selection and any β rule on any objective; DynamicPO is one such combination."""

from torch import Tensor

from losses.beta import BetaRule, DualMarginBeta
from losses.objective import Objective
from losses.scores import ObjectiveOutput, ResponseScores
from losses.selection import Selection, ThreeMeansBoundary


class SelectiveObjective(Objective):
    """An objective on selected negatives, each with its own β; what is not selected gets no gradient.

    Selection and β are recomputed at every call from the current policy's log-probabilities, and not
    differentiated.

    Args:
        objective: What is optimised; its β is the base β.
        selection: Which negatives enter.
        beta_rule: The temperature of each.
    """

    def __init__(self, objective: Objective, selection: Selection, beta_rule: BetaRule) -> None:
        super().__init__(objective.beta)
        self.objective = objective
        self.selection = selection
        self.beta_rule = beta_rule
        self.needs_reference = objective.needs_reference
        self.needs_lengths = objective.needs_lengths
        self.most_negatives = objective.most_negatives
        self.needs_draws = objective.needs_draws or selection.needs_draws

    def view(self, scores: ResponseScores) -> ResponseScores:
        """The scores as the inner objective reads them."""
        return self.objective.view(scores)

    def loss(self, values: Tensor, selected: Tensor, beta: Tensor) -> Tensor:
        """The inner objective's loss."""
        return self.objective.loss(values, selected, beta)

    def forward(
        self, scores: ResponseScores, selected: Tensor | None = None, beta: Tensor | None = None
    ) -> ObjectiveOutput:
        """Select, give each negative its β, and compute the inner objective.

        Args:
            scores: Log-probabilities of the responses.
            selected: `[B, K]` bool, in place of the selection; None computes it.
            beta: `[B, K]`, in place of the rule; None computes it.

        Returns:
            Loss, selection, temperatures and rewards.

        Raises:
            ValueError: A shape does not fit, or what one of the parts needs is missing.
        """
        view = self.view(scores)
        if selected is None:
            selected = self.selection(view)
        if beta is None:
            beta = self.beta_rule(view, selected, self.beta)
        output: ObjectiveOutput = self.objective(scores, selected, beta)
        return output


class DynamicPO(SelectiveObjective):
    """DynamicPO: boundary-critical negatives with dual-margin β, on any objective.

    It is `SelectiveObjective(objective, ThreeMeansBoundary(), DualMarginBeta(gamma, alpha))`.

    Source: DynamicPO, arXiv 2605.00327.

    Args:
        objective: What is optimised; its β is the base β.
        gamma: Offset γ of the margins, in nats.
        alpha: Strength 0 ≤ α < 1 of the adjustment.

    Raises:
        ValueError: gamma is not finite or alpha is outside [0, 1).
    """

    def __init__(self, objective: Objective, gamma: float = 2.0, alpha: float = 0.5) -> None:
        super().__init__(objective, ThreeMeansBoundary(), DualMarginBeta(gamma, alpha))
