"""When a rule's success is a leak and not luck or popularity.

The yardstick is not chance: where popular items are often targets, a rule that remembers targets beats chance
on clean lists too. It is the same rule on **control copies** of the judged rows in which only the suspected
channel is randomised, everything else (targets, their popularity, what was learned) being the same:

- position: the order of each list is shuffled;
- fingerprint: the rows exchange their negatives, as far as no row receives its target.

If lists are ordered and drawn independently of the target, a row and its M copies are exchangeable. Given
that T of a row's 1 + M versions are hits, the version in the file is one with probability T / (1 + M), so the
hits in the file are a sum of independent Bernoulli variables with mean n·p, p the hit rate over all versions.
From n·p + 1 on, the binomial B(n, p) has the heavier upper tail (Hoeffding, Ann. Math. Statist. 1956), so

    P(B(n, p) ≥ hits)

bounds the probability of a false alarm, whatever the popularity. (Rows that exchange negatives depend on each
other weakly; the tests count false alarms.)

A rule condemns a data set where both hold:

- the bound is at most `LEVEL` = 1e-4;
- its HR@1 exceeds the copies' by at least `EFFECT` = 0.02, two standard errors of HR@1 on the 2,495 rows of
  LastFM and the size of the differences between methods that such files are used to show.
"""

from dataclasses import dataclass

import numpy as np

LEVEL = 1e-4
EFFECT = 0.02


@dataclass(frozen=True)
class ControlledRate:
    """A rule's hits in the file and on its control copies.

    Attributes:
        rows: Judged rows.
        hits: Rows of the file that the rule gets right.
        copies: Control copies of all rows.
        copy_hits: Rows of all copies together that it gets right.
    """

    rows: int
    hits: int
    copies: int
    copy_hits: int

    @property
    def rate(self) -> float:
        """HR@1 in the file."""
        return self.hits / max(self.rows, 1)

    @property
    def control(self) -> float:
        """HR@1 on the copies."""
        return self.copy_hits / max(self.rows * self.copies, 1)

    @property
    def gain(self) -> float:
        """What the suspected channel is worth, in HR@1."""
        return self.rate - self.control

    @property
    def false_alarm_bound(self) -> float:
        """Bound on the probability of as many hits in clean data; see the module."""
        return binomial_tail(self.hits, self.rows, self._pooled(self.hits))

    @property
    def condemned(self) -> bool:
        """Whether this is a leak; see the module."""
        return self.rows > 0 and self.gain >= EFFECT and self.false_alarm_bound <= LEVEL

    @property
    def detectable_gain(self) -> float:
        """Smallest gain that would have condemned, the copies as they are; infinite where none would."""
        low, high = 0, self.rows + 1
        while low < high:
            hits = (low + high) // 2
            beyond = ControlledRate(self.rows, hits, self.copies, self.copy_hits)
            low, high = (low, hits) if beyond.condemned else (hits + 1, high)
        return low / self.rows - self.control if low <= self.rows and self.rows else float("inf")

    def _pooled(self, hits: int) -> float:
        return (hits + self.copy_hits) / max(self.rows * (1 + self.copies), 1)


def binomial_tail(hits: int, rows: int, rate: float) -> float:
    """P(X ≥ hits) for X ~ B(rows, rate), summed exactly.

    Args:
        hits: At least 0.
        rows: Number of trials.
        rate: Probability of a hit, in [0, 1].
    """
    if hits <= 0:
        return 1.0
    if hits > rows or rate <= 0.0:
        return 0.0
    if rate >= 1.0:
        return 1.0
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, rows + 1)))])
    k = np.arange(hits, rows + 1)
    log_choose = log_factorial[rows] - log_factorial[k] - log_factorial[rows - k]
    log_terms = log_choose + k * np.log(rate) + (rows - k) * np.log1p(-rate)
    return float(min(1.0, np.exp(log_terms).sum()))
