import numpy as np
import pytest

from study.seeds import _T, report


def test_the_report_by_hand() -> None:
    """Differences by seed are 0, 1/2 and 1/2, of two examples.

    Their mean is 1/3, their standard deviation 1 / (2 √3), the half-width 4.3027 · 0.28868 / √3 = 0.71712.
    """
    base = np.zeros((3, 2))
    treatment = np.array([[0, 0], [1, 0], [0, 1]], dtype=float)
    lines = report(base, treatment, np.array(["a", "b"])).splitlines()
    assert lines[1].split() == ["0", "0.0000", "0.0000", "+0.0000"]
    assert lines[2].split() == ["1", "0.0000", "0.5000", "+0.5000"]
    assert lines[4].split()[-1] == "+0.3333"
    half = _T / (2 * 3**0.5) / 3**0.5
    low, high = (float(lines[5].split()[place]) for place in (-3, -1))
    assert low == pytest.approx(1 / 3 - half, abs=1e-4)
    assert high == pytest.approx(1 / 3 + half, abs=1e-4)


def test_the_quantile_is_students() -> None:
    """With two degrees of freedom the distribution function is 1/2 + t / (2 √(2 + t²)) in closed form."""
    below = 0.5 + _T / (2 * (2 + _T**2) ** 0.5)
    assert below == pytest.approx(0.975, abs=1e-12)
