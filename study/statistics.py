"""A test for two runs on the same examples; intervals are those of `datamodules.user_bootstrap`."""

import math


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """Two-sided exact McNemar test: does one of two classifiers get more rows right?

    Only rows that exactly one gets right count. Were both equally good and rows independent, each such row
    would be the first's or the second's with probability 1/2.

    Args:
        first_only: Rows that the first alone gets right.
        second_only: Rows that the second alone gets right.

    Returns:
        The p-value: twice the tail of B(first_only + second_only, 1/2), at most 1.
    """
    rows = first_only + second_only
    term = tail = math.comb(rows, min(first_only, second_only))
    for right in range(min(first_only, second_only), 0, -1):
        term = term * right // (rows - right + 1)
        tail += term
    # Integers as long as the rows are many: the division comes last, for a float would overflow.
    return 1.0 if 2 * tail >= 2**rows else 2 * tail / 2**rows
