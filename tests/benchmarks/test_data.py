from pathlib import Path

import pytest

from benchmarks import data


@pytest.mark.parametrize("name", list(data._FORMATS))
def test_every_format_is_written_and_read(name: str, tmp_path: Path) -> None:
    """What the fresh process does, in this one: a table is generated, read and built."""
    data._FORMATS[name][0](tmp_path, 2000)
    result = data._measure(name, tmp_path, rows_per_chunk=500)
    assert result["seconds"] > 0
    assert result["peak_mb"] > 0
    assert list((tmp_path / "cache").glob("examples-*/train.arrow"))
