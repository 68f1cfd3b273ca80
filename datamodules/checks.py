"""Checks of constructor settings; each error names the setting, its value and what it must be."""

import math


def require_at_least(least: float, **settings: float | None) -> None:
    """Check numbers against a minimum; None means that a setting is not given.

    Raises:
        ValueError: One is lower, infinite or not a number.
    """
    for name, value in settings.items():
        if value is not None and not least <= value < math.inf:
            finite = " and finite" if isinstance(value, float) else ""
            raise ValueError(f"{name}={value} must be at least {least}{finite}")


def require_finite(**settings: float) -> None:
    """Check numbers of either sign.

    Raises:
        ValueError: One is infinite or not a number.
    """
    for name, value in settings.items():
        if not math.isfinite(value):
            raise ValueError(f"{name}={value} must be a finite number")


def require_share(**settings: float) -> None:
    """Check shares that may be 0 and not 1, such as dropout.

    Raises:
        ValueError: One lies outside [0, 1).
    """
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value} must be at least 0 and below 1")


def require_text(**settings: str | None) -> None:
    """Check names and paths; None means that a setting is not given.

    Raises:
        ValueError: One is empty.
    """
    for name, value in settings.items():
        if value is not None and not value.strip():
            raise ValueError(f"{name}={value!r} must not be empty")


def require_names(**settings: list[str] | None) -> None:
    """Check lists of names; None means that a setting is not given.

    Raises:
        ValueError: One is empty, or holds an empty name.
    """
    for name, value in settings.items():
        if value is not None and not (value and all(value)):
            raise ValueError(f"{name}={value} must hold names and no empty one")
