"""What docs/recommending.md says is run: its commands on the small data set, its histories and its Python."""

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_modules.cli import main
from tests.test_readme import ROOT, small

PAGE = (ROOT / "docs/recommending.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_runs_from_top_to_bottom(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (histories,) = blocks("json")
    Path("histories.jsonl").write_text(histories)
    titles = sorted({*re.findall(r'"([A-Z][^"]*)"', histories), "Babe"})
    pq.write_table(pa.table({"title": titles}), "catalogue.parquet")
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        arguments = command.removeprefix("python train.py ").split()
        if arguments[0] == "fit":
            arguments = [*small(arguments, tiny_folder), "--trainer.log_every_n_steps=2"]
        main(arguments)
    found = pq.read_table("outputs/quickstart/sft/recommendations.parquet").to_pylist()
    assert [row["user"] for row in found] == ["ann", "bob"]
    assert all(sorted(row["titles"]) == titles for row in found)
    assert "throughput/tokens_per_second" in Path("outputs/speed/metrics.csv").read_text()
    (code,) = blocks("python")
    names: dict = {}
    exec(compile(code, "docs/recommending.md", "exec"), names)
    assert len(names["found"][0]) == 3


def test_every_file_it_names_is_there() -> None:
    names = re.findall(r"`((?:tests|configs|docs)/[\w./]+)`", PAGE)
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
