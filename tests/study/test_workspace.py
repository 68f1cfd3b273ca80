"""Making a workspace of the layout needs a package that the tests do not have; tests/test_watching_page.py has more."""

import sys

import pytest

from study.workspace import main


def test_what_cannot_be_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["dynamicpo"]) == 2
    assert "'dynamicpo' is no ENTITY/PROJECT" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["me/dynamicpo"]) == 2
    assert "pip install wandb-workspaces" in capsys.readouterr().err
