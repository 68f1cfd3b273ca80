"""Predictions that are no longer those of the run beside them."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from datamodules.errors import InputError
from lightning_modules.checkpoint_files import write_whole
from study.compare import main
from study.origin import foreign_checkpoint
from study.runs import read_run
from tests.study.folders import configuration, objective, write_run


def checkpoint(path: Path, step: int) -> str:
    """Writes one and returns its digest, which stands in its last 64 bytes."""
    write_whole({"global_step": step}, path)
    return path.read_bytes()[-64:].decode()


def name_checkpoint(path: Path, given: str, digest: str) -> None:
    """Has a prediction file say which checkpoint it came from."""
    noted = {"checkpoint": given, "checkpoint_sha256": digest, "checkpoint_step": "7" if digest else ""}
    pq.write_table(pq.read_table(path).replace_schema_metadata(noted), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", configuration(objective()), [1, 2, 7])


def test_predictions_of_the_best_or_the_last_or_the_file_that_was_given_are_the_runs(folder: Path) -> None:
    for name in ("best", "last", "mine"):
        digest = checkpoint(folder / f"checkpoints/{name}.ckpt", len(name))
        name_checkpoint(folder / "predictions.parquet", f"elsewhere/{name}.ckpt", digest)
        assert read_run(folder, name).ranks is not None


def test_what_cannot_be_compared_is_taken(folder: Path) -> None:
    """A file that names no checkpoint; and one of a run whose checkpoints were deleted."""
    checkpoint(folder / "checkpoints/best.ckpt", 1)
    assert read_run(folder, "unnamed").ranks is not None
    name_checkpoint(folder / "predictions.parquet", "run/checkpoints/best.ckpt", "0" * 64)
    (folder / "checkpoints/best.ckpt").unlink()
    assert read_run(folder, "deleted").ranks is not None


@pytest.mark.parametrize("untrained", [False, True])
def test_others_are_left_out_of_a_report_and_a_comparison_warns(
    untrained: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are named: what was predicted from, and what the run has now."""
    best, predictions = folder / "checkpoints/best.ckpt", folder / "predictions.parquet"
    old = checkpoint(best, 7)
    name_checkpoint(predictions, *(("", "") if untrained else (str(best), old)))
    new = checkpoint(best, 8)
    origin = "an untrained model" if untrained else f"{best} at step 7 (sha256 {old[:12]})"
    told = f"{predictions} is of {origin}, and {best} is another one (sha256 {new[:12]})"
    with pytest.raises(InputError) as caught:
        read_run(folder, "run")
    assert str(caught.value) == f"{told}: run `train.py predict --ckpt_path best` for this config again"
    assert main([str(predictions), str(predictions)]) == 0
    assert capsys.readouterr().err.startswith(f"warning: {told}: predict again")


def test_a_comparison_takes_predictions_of_a_checkpoint_that_is_kept_elsewhere(
    folder: Path, tmp_path: Path
) -> None:
    checkpoint(folder / "checkpoints/best.ckpt", 1)
    elsewhere = tmp_path / "earlier/1/checkpoints/best.ckpt"
    digest = checkpoint(elsewhere, 2)
    name_checkpoint(folder / "predictions.parquet", str(elsewhere), digest)
    assert foreign_checkpoint(folder / "predictions.parquet", anywhere=True) is None
    checkpoint(elsewhere, 3)
    assert foreign_checkpoint(folder / "predictions.parquet", anywhere=True) is not None
