"""Every part can be named in a config, and the README's lines do what they say."""

import re
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from torch import nn

import losses
from losses import (
    DMPO,
    MPPO,
    SDPO,
    BetaRule,
    DynamicPO,
    Objective,
    RandomNegatives,
    Selection,
    SelectiveObjective,
)

README = Path(losses.__file__).with_name("README.md").read_text()
ROWS = re.findall(r"^\| `(\w+)`.*\| `(\{class_path.*\})` \|$", README, flags=re.MULTILINE)
EXPORTED = {name for name in losses.__all__ if isinstance(getattr(losses, name), type)}
PARTS = {
    name
    for name in EXPORTED
    if issubclass(getattr(losses, name), Objective | Selection | BetaRule)
    and name not in {"Objective", "Selection", "BetaRule"}
}


def instantiate(config: str) -> nn.Module:
    """Instantiate `part: …` as the Lightning CLI would: parse, dump, parse what was dumped, and build."""
    kind = next(base for base in (Objective, Selection, BetaRule) if _is_a(config, base))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--part", type=kind)
    dumped = parser.dump(parser.parse_string(config))
    part = parser.instantiate_classes(parser.parse_string(dumped)).part
    assert isinstance(part, kind)
    return part


def _is_a(config: str, base: type) -> bool:
    name = yaml.safe_load(config)["part"]["class_path"].rpartition(".")[2]
    return issubclass(getattr(losses, name), base)


@pytest.mark.parametrize(("name", "line"), ROWS, ids=[name for name, _ in ROWS])
def test_readme_lines_build_what_their_row_names(name: str, line: str) -> None:
    part = instantiate(f"part: {line}")
    assert type(part) is getattr(losses, name)
    for setting, value in yaml.safe_load(line).get("init_args", {}).items():
        if not isinstance(value, dict):
            assert getattr(part, setting, getattr(getattr(part, "beta_rule", None), setting, None)) == value


def test_readme_has_a_line_for_every_part() -> None:
    assert {name for name, _ in ROWS} == PARTS


def test_nested_parts_keep_their_settings() -> None:
    part = instantiate(
        """
        part:
          class_path: losses.SelectiveObjective
          init_args:
            objective: {class_path: losses.SDPO, init_args: {beta: 0.25}}
            selection: {class_path: losses.RandomNegatives, init_args: {m: 4}}
            beta_rule: {class_path: losses.DualMarginBeta, init_args: {gamma: 6, alpha: 0.75}}
        """
    )
    assert isinstance(part, SelectiveObjective)
    assert isinstance(part.objective, SDPO)
    assert isinstance(part.selection, RandomNegatives)
    assert (part.beta, part.objective.beta, part.selection.m) == (0.25, 0.25, 4)
    assert (part.beta_rule.gamma, part.beta_rule.alpha) == (6.0, 0.75)


@pytest.mark.parametrize("objective", [DMPO, SDPO, MPPO])
def test_dynamicpo_on_each_objective(objective: type[Objective]) -> None:
    inner = f"{{class_path: losses.{objective.__name__}, init_args: {{beta: 2}}}}"
    part = instantiate(
        f"part: {{class_path: losses.DynamicPO, init_args: {{objective: {inner}, gamma: 6.0}}}}"
    )
    assert isinstance(part, DynamicPO)
    assert type(part.objective) is objective
    assert (part.beta, part.beta_rule.gamma, part.beta_rule.alpha) == (2.0, 6.0, 0.5)


@pytest.mark.parametrize(
    "config",
    [
        "part: {class_path: losses.DMPO, init_args: {bta: 1.0}}",
        "part: {class_path: losses.DynamicPO, init_args: {objective: {class_path: losses.ConstantBeta}}}",
    ],
)
def test_misspelt_settings_and_misplaced_parts_are_refused(config: str) -> None:
    with pytest.raises(ArgumentError):
        instantiate(config)


def test_settings_are_not_in_the_checkpoint() -> None:
    assert DynamicPO(DMPO()).state_dict() == {}


def test_readme_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(block, {})
    assert "[[ True,  True, False, False]]" in capsys.readouterr().out
