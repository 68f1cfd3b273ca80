"""What ResponseScores refuses, and what its value check finds."""

import math

import pytest
import torch

from losses import ObjectiveOutput, ResponseScores

POLICY = torch.full((2, 4), -1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": POLICY[:, :1]}, r"policy has shape \(2, 1\), so K = 0: give at least one negative"),
        ({"policy": POLICY[0]}, r"policy has shape \(4,\), expected \[B, 1 \+ K\]"),
        ({"policy": POLICY.long()}, r"policy has dtype torch\.int64"),
        ({"policy": POLICY, "reference": POLICY[:, 1:]}, r"reference has shape \(2, 3\), expected \(2, 4\)"),
        ({"policy": POLICY, "reference": POLICY.long()}, r"reference has dtype torch\.int64"),
        ({"policy": POLICY, "mask": POLICY > 0}, r"mask has shape \(2, 4\), expected \(2, 3\)"),
        ({"policy": POLICY, "mask": POLICY[:, 1:]}, r"mask has dtype torch\.float32, expected torch\.bool"),
        ({"policy": POLICY, "lengths": POLICY[:1]}, r"lengths has shape \(1, 4\), expected \(2, 4\)"),
        ({"policy": POLICY, "draws": POLICY}, r"draws has shape \(2, 4\), expected \(2, 3\)"),
        ({"policy": POLICY, "draws": POLICY[:, 1:].long()}, r"draws has dtype torch\.int64"),
    ],
)
def test_misshapen_input_is_refused_in_one_line(arguments: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        ResponseScores(**arguments)
    assert "\n" not in str(error.value)


def spoiled(column: int, value: float) -> torch.Tensor:
    tensor = POLICY.clone()
    tensor[1, column] = value
    return tensor


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["policy", "reference"])
@pytest.mark.parametrize("column", [0, 2])
def test_check_values_names_the_row_that_is_not_finite(name: str, column: int, value: float) -> None:
    arguments = {"policy": POLICY, "reference": POLICY}
    ResponseScores(**arguments).check_values()
    arguments[name] = spoiled(column, value)
    with pytest.raises(ValueError, match=f"row 1: {name} is not finite"):
        ResponseScores(**arguments).check_values()


@pytest.mark.parametrize("column", [0, 2])
def test_check_values_finds_empty_responses(column: int) -> None:
    lengths = torch.ones(2, 4, dtype=torch.int64)
    ResponseScores(POLICY, lengths=lengths).check_values()
    lengths[1, column] = 0
    with pytest.raises(ValueError, match="row 1: lengths is below 1"):
        ResponseScores(POLICY, lengths=lengths).check_values()


def test_check_values_finds_rows_without_negatives() -> None:
    mask = torch.tensor([[True, False, False], [False, False, False]])
    with pytest.raises(ValueError, match="row 1: mask leaves no negative"):
        ResponseScores(POLICY, mask=mask).check_values()
    ResponseScores(POLICY[:1], mask=mask[:1]).check_values()


def test_check_values_finds_spoiled_draws() -> None:
    with pytest.raises(ValueError, match="row 1: draws is not finite"):
        ResponseScores(POLICY, draws=spoiled(2, math.nan)[:, 1:]).check_values()


def test_check_values_ignores_masked_columns() -> None:
    mask = torch.tensor([[True, True, True], [True, False, True]])
    bad = spoiled(2, math.nan)
    ResponseScores(bad, bad, mask, -bad, bad[:, 1:]).check_values()


def test_fields_cannot_be_reassigned() -> None:
    with pytest.raises(AttributeError):
        ResponseScores(POLICY).policy = POLICY  # type: ignore[misc]


def test_output_shapes_belong_together() -> None:
    negatives = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"loss has shape \(3,\), expected \(2,\)"):
        ObjectiveOutput(torch.zeros(3), negatives > 0, negatives, POLICY)
    with pytest.raises(ValueError, match=r"beta has shape \(2, 4\), expected \(2, 3\)"):
        ObjectiveOutput(torch.zeros(2), negatives > 0, POLICY, POLICY)
