"""The page behind `--help`: short, at once, and true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parsed import parse
from train import __doc__ as page
from train import asks_for_page

ROOT = Path(__file__).parents[1]


def section(title: str) -> list[str]:
    """The lines under a heading."""
    _, _, rest = page.partition(f"\n{title}:\n")
    return rest.split("\n\n")[0].splitlines()


@pytest.mark.parametrize(
    ("args", "stream", "status"),
    [("--help", "out", 0), ("fit --help", "out", 0), ("test --config x -h", "out", 0), ("", "err", 2)],
)
def test_the_page_comes_before_anything_heavy(args: str, stream: str, status: int, tmp_path: Path) -> None:
    """Which modules the process has loaded in the end decides its time: torch alone takes seconds."""
    code = (
        "import runpy, sys\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    launch = f"import sys; sys.argv = [{str(ROOT / 'train.py')!r}, *{args.split()!r}]\n{code}"
    run = subprocess.run([sys.executable, "-c", launch], cwd=tmp_path, capture_output=True, text=True)
    *error, modules = run.stderr.splitlines()
    assert run.returncode == status
    assert {"out": run.stdout, "err": "\n".join(error) + "\n"}[stream] == f"{page}\n"
    heavy = {"torch", "lightning", "transformers", "wandb", "numpy", "jsonargparse", "lightning_modules"}
    assert not heavy & set(re.findall(r"'(\w+)'", modules))


@pytest.mark.parametrize(
    ("args", "asks"),
    [
        ([], True),
        (["fit", "--help"], True),
        (["fit", "--help", "all"], False),
        (["fit", "--config", "x.yaml"], False),
        (["fit", "--model.help", "PreferenceModule"], False),
    ],
)
def test_what_asks_for_the_page(args: list[str], asks: bool) -> None:
    assert asks_for_page(args) is asks


def test_it_is_a_page() -> None:
    lines = page.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 110


def test_it_names_the_four_commands() -> None:
    assert [line.split()[0] for line in section("Commands")] == ["fit", "validate", "test", "predict"]


def test_it_names_every_part_of_a_config_and_no_other() -> None:
    config, _ = parse("fit", "--config", str(ROOT / "configs/quickstart/sft.yaml"))
    named = {line.split()[0] for line in section("Settings, in a config or as an option")}
    assert named == set(config.as_dict()) - {"config", "weights_only"}


def test_its_examples_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    examples = [line.split("train.py ")[1].split() for line in section("Examples")]
    assert len(examples) == 4
    for args in examples:
        parse(*args)
