"""What docs/watching.md and the saved workspace speak of is what a run logs; its commands are run."""

import csv
import re
import shutil
from pathlib import Path

import pytest

from lightning_modules.cli import main
from study.report.__main__ import main as report
from study.workspace import LAYOUT
from tests.test_readme import ROOT, small

PAGE = (ROOT / "docs/watching.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]


def named() -> set[str]:
    """The metrics in the page's table, `a/{b,c}` and `…/c` written out."""
    found = set()
    for cell in re.findall(r"^\| (`[^|]*`[^|]*) \|", PAGE, re.MULTILINE):
        group = ""
        for name in re.findall(r"`([^`]+)`", cell.replace("negative_rank_r", "negative_rank_1")):
            full = name.replace("…", group)
            group = full.split("/")[0]
            ends = re.search(r"\{(.*)\}", full)
            found |= {full.replace(ends[0], end) for end in ends[1].split(",")} if ends else {full}
    return {name for name in found if not name.startswith("alarm/")}


def test_the_page_and_the_workspace_name_what_is_logged(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    watch, judged = COMMANDS
    arguments = small(watch.removeprefix("python train.py ").split(), tiny_folder)
    main([*arguments, "--trainer.log_every_n_steps=2", "--model.init_from=null", "--wandb.mode=disabled"])
    folder = Path("outputs/quickstart/dmpo")
    with (folder / "metrics.csv").open() as file:
        logged = set(csv.DictReader(file).fieldnames or [])

    assert len(named()) >= 19
    assert named() <= logged
    shown = {metric for section in LAYOUT for chart in section.charts for metric in chart.metrics}
    assert shown - logged == {"reward/negative_rank_16"}, "there are fifteen negatives"

    assert judged == "python -m study.report outputs/quickstart"
    assert report(["outputs/quickstart"]) == 0
    assert "The collapse alarm, run by run" in Path("outputs/report/index.html").read_text()
