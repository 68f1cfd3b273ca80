"""When to call a fall a collapse: a rule on numbers alone, so that finished runs can be judged by it too."""

from dataclasses import dataclass

from datamodules.checks import require_at_least, require_share


@dataclass(frozen=True)
class Change:
    """How a mean over the held-out examples has changed.

    Attributes:
        mean: Now minus then.
        error: Its standard error.
    """

    mean: float
    error: float

    def falls_by(self, margin: float, z: float) -> bool:
        """Whether the mean fell by more than a margin, and that by more than z standard errors."""
        return self.mean + z * self.error < -margin


@dataclass(frozen=True)
class Evidence:
    """What a validation says against the best one before it.

    Attributes:
        loss: Change of the training loss, a mean over the steps since the validation before.
        mrr: Change of the mean reciprocal rank.
        hit_ratio: Change of hit_ratio@1.
        easy_share: ‖g_S‖ / (‖g_S‖ + ‖g_B‖), the easy negatives' part of the gradient's norms as last measured; None
            where it is not measured.
    """

    loss: float
    mrr: Change
    hit_ratio: Change
    easy_share: float | None = None

    @property
    def suppressed(self) -> bool:
        """Whether easy negatives carry more of the gradient than those at the boundary."""
        return self.easy_share is not None and self.easy_share > 0.5


@dataclass(frozen=True)
class CollapseRule:
    """Calls it a collapse when held-out ranking falls while the training loss does.

    Let b be the best validation before t by mrr, ΔL the change of the training loss from b to t, Δmrr and Δhr the
    changes of the two held-out means and σ their standard errors. Validation t *falls* if all three hold:

        ΔL < 0,   Δmrr + z σ(Δmrr) < 0,   Δhr + z σ(Δhr) < −margin.

    mrr moves with every rank and says whether there is a fall at all; hit_ratio@1 says whether it is large enough to
    mind, for with many examples a harmless fall is significant too. The alarm sounds at the n-th fall in a row, where
    n = patience; where the gradient of the easy negatives was measured to be larger than the boundary's, which is how
    the paper explains a collapse, one fewer will do, but never none. It sounds once until a validation does not fall.

    Args:
        z: Standard errors.
        margin: The fall of hit_ratio@1 that is not worth an alarm.
        patience: n.

    Raises:
        ValueError: A setting cannot be.
    """

    z: float = 4.0
    margin: float = 0.02
    patience: int = 1

    def __post_init__(self) -> None:
        require_at_least(0, z=self.z)
        require_share(margin=self.margin)
        require_at_least(1, patience=self.patience)

    def falls(self, evidence: Evidence) -> bool:
        """Whether one validation falls."""
        held_out = evidence.mrr.falls_by(0, self.z) and evidence.hit_ratio.falls_by(self.margin, self.z)
        return evidence.loss < 0 and held_out

    def sounds(self, falls: int, evidence: Evidence) -> bool:
        """Whether the last of so many falls in a row is where the alarm is due."""
        return falls >= max(1, self.patience - evidence.suppressed)


@dataclass
class Watch:
    """Applies a rule to one validation after another.

    Attributes:
        rule: The rule.
        falls: Falls in a row so far.
        sounded: Whether the alarm has sounded since the last validation that did not fall.
    """

    rule: CollapseRule
    falls: int = 0
    sounded: bool = False

    def see(self, evidence: Evidence | None) -> bool:
        """Takes the next validation; None is one that is the best so far.

        Returns:
            Whether the alarm sounds at it.
        """
        if evidence is None or not self.rule.falls(evidence):
            self.falls, self.sounded = 0, False
            return False
        self.falls += 1
        if self.sounded or not self.rule.sounds(self.falls, evidence):
            return False
        self.sounded = True
        return True
