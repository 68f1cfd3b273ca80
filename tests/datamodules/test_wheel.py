"""The real pip, told to look into a folder of the test's own and nowhere else."""

import zipfile
from pathlib import Path

import pytest

from datamodules import InputError
from datamodules.sources.wheel import fetch_from_wheel

METADATA = "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the wheel of a package that carries two files."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carrier/a.txt", "a")
        wheel.writestr("carrier/b.txt", "b")
        wheel.writestr("carrier-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("carrier-1.0.dist-info/RECORD", "")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def test_files_come_in_the_order_they_were_asked_for(index: Path) -> None:
    files = fetch_from_wheel("carrier==1.0", ["carrier/b.txt", "carrier/a.txt"], index)
    assert [file.read_text() for file in files] == ["b", "a"]


@pytest.mark.parametrize(
    ("requirement", "member", "reason"),
    [
        ("carrier==2.0", "carrier/a.txt", "No matching distribution found for carrier==2.0"),
        ("carrier==1.0", "carrier/c.txt", "There is no item named 'carrier/c.txt' in the archive"),
    ],
)
def test_what_cannot_be_had_is_one_line(index: Path, requirement: str, member: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        fetch_from_wheel(requirement, [member], index)
    message = str(caught.value)
    assert message.startswith(f"{requirement} cannot be fetched (")
    assert reason in message
    assert message.endswith(f"make `pip download {requirement}` work")
    assert "\n" not in message
