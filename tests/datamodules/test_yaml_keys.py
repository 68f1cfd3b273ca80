"""A key that stands twice in a YAML file is refused, wherever it stands, before anything runs."""

from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.yaml_keys import require_distinct_keys
from lightning_modules.cli import main
from study.grid import read_grid

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trainer: {max_steps: 1}\ndata: 2\ntrainer: {max_steps: 2}\n", "trainer twice, in lines 1 and 3"),
        ("a:\n  b:\n    lr: 1\n\n    'lr': 2\n", "a.b.lr twice, in lines 3 and 5"),
        ("a:\n- b: 1\n- {c: 1, c: 1}\n", r"a\[1\].c twice, in line 3"),
        ("? [k]\n: 1\nx: &same {y: 1}\nz: *same\nx: 2\n", "x twice, in lines 3 and 5"),
    ],
)
def test_it_is_named_with_its_lines(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"some.yaml has {told}: the last one would count; leave one out"):
        require_distinct_keys(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n- a\n",
        "a: {c: 1}\nb: {c: 1}\n1: x\n'1': y\n",
        "a: &m {c: 1}\nb: {<<: *m, c: 2}\n",
        "a: [\n",
        "a\x00",
        "a: some.yaml\n",
    ],
)
def test_what_has_none_passes(tmp_path: Path, text: str) -> None:
    """Equal keys of different mappings, a number beside its digits, a merge that is overridden, no YAML at all."""
    path = tmp_path / "some.yaml"
    path.write_text(text)
    require_distinct_keys(path)
    require_distinct_keys(tmp_path / "missing.yaml")


@pytest.mark.parametrize("asked", [["--config", "overlay"], ["--config=over.yaml"], ["--data", "over.yaml"]])
def test_every_file_of_a_command_is_looked_at(tmp_path: Path, monkeypatch, capsys, asked: list[str]) -> None:
    """The second config, with no suffix or behind an equals sign, a part of a config, and what a config names."""
    monkeypatch.chdir(tmp_path)
    for name in ("over.yaml", "overlay"):
        Path(name).write_text("data:\n  seed: 1\n  seed: 2\n")
    Path("config.yaml").write_text("seed_everything: 1\n")
    Path("naming.yaml").write_text("data: over.yaml\n")
    for arguments in (["--config", "config.yaml", *asked], ["--config", "naming.yaml"]):
        with pytest.raises(SystemExit) as caught:
            main(["fit", *arguments])
        assert caught.value.code == 2
        assert "has data.seed twice, in lines 2 and 3" in capsys.readouterr().err


def test_a_grid_and_the_configs_that_it_names(tmp_path: Path, monkeypatch) -> None:
    grid = (ROOT / "study/small.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    Path("grid.yaml").write_text(f"{grid}\noutputs: elsewhere\n")
    with pytest.raises(InputError, match="grid.yaml has outputs twice, in lines"):
        read_grid(Path("grid.yaml"))
    Path("grid.yaml").write_text(grid)
    named = Path(read_grid(Path("grid.yaml")).preference[0])
    named.parent.mkdir(parents=True)
    named.write_text("trainer:\n  max_steps: 1\n  max_steps: 2\n")
    with pytest.raises(InputError, match=f"{named} has trainer.max_steps twice, in lines 2 and 3"):
        read_grid(Path("grid.yaml"))


def test_the_configs_of_the_repository_have_none() -> None:
    files = [path for folder in ("configs", "study") for path in (ROOT / folder).rglob("*.yaml")]
    assert len(files) > 40
    for path in files:
        require_distinct_keys(path)
