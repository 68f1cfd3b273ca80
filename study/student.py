"""Student's t with any number of degrees of freedom, whole or not."""

import math

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_BISECTIONS = 80


def student_tail(t: float, freedom: float) -> float:
    """Probability that |T| exceeds |t|.

    With x = √ν tan θ the density is proportional to cos^(ν − 1) θ, which Gauss's rule integrates.

    Args:
        t: Any number; infinite gives 0.
        freedom: ν, at least 1.
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    nodes = angle * (_NODES + 1) / 2
    inside = scale * angle * float(_WEIGHTS @ np.cos(nodes) ** (freedom - 1))
    return max(0.0, 1 - inside)


def student_quantile(level: float, freedom: float) -> float:
    """The t with |T| ≤ t in `level` of all cases, found by bisection.

    Args:
        level: Coverage, between 0 and 1.
        freedom: ν, at least 1.
    """
    low, high = 0.0, 1.0
    while student_tail(high, freedom) > 1 - level:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if student_tail(middle, freedom) > 1 - level:
            low = middle
        else:
            high = middle
    return high
