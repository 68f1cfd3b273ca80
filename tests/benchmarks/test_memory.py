"""Peak memory of a real run."""

from pathlib import Path

import pytest
import yaml

from benchmarks.memory import peak_gb
from tests.cli import config


def test_a_larger_model_takes_as_much_more_as_its_weights(tiny_folder: Path, tmp_path: Path) -> None:
    """256 MB of weights: their gradients, the reference and Adam's two moments make five times that."""
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config(tiny_folder, init_from=None)))
    small, large = (
        peak_gb(
            str(path),
            False,
            trainer__max_steps=2,
            data__cache_dir=tmp_path,
            model__language_model__intermediate_size=size,
        )
        for size in (64, 666_667)  # three matrices of size × 32 floats
    )
    assert 1.2 < large - small < 2.5


def test_a_run_that_fails_says_why(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config(tiny_folder)))
    with pytest.raises(RuntimeError, match="error: num_negatives=99 must lie in"):
        peak_gb(str(path), True, data__num_negatives=99)
