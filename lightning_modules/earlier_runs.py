"""What an earlier run left in a folder moves to `earlier/1`, `earlier/2`, … when a new run begins there."""

import filecmp
import json
import os
import shutil
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from datamodules.errors import InputError
from lightning_modules.checkpoint_files import LAST, PREVIOUS

EARLIER = "earlier"
_PART = ".part"
_CHECKPOINTS, _CONFIG, _METRICS = "checkpoints", "config.yaml", "metrics.csv"
_RESULTS = (_CONFIG, _METRICS, "predictions.parquet", "recommendations.parquet")
_WHOLE_RUN = (_CHECKPOINTS, *_RESULTS, "finished.json", "adapter", "model", "base", "wandb", "wandb_run_id")


def goes_on(folder: Path, checkpoint: Path | None) -> bool:
    """Return whether a fit that starts from a checkpoint goes on with the run of a folder."""
    return checkpoint is not None and checkpoint.resolve().parent == (folder / _CHECKPOINTS).resolve()


def make_room(folder: Path, checkpoint: Path | None) -> None:
    """Move aside what is not of the run that begins.

    Left in place, it would be resumed from, tested or reported as the new run's. A new run moves everything of the
    earlier one. A run that goes back to an older checkpoint moves the later checkpoints, with a copy of its record.

    Args:
        folder: The run's.
        checkpoint: What training goes on from; None where it starts from the beginning.

    Raises:
        InputError: Something cannot be moved.
    """
    if not goes_on(folder, checkpoint):
        if _holds_run(folder):
            names = [name for name in _WHOLE_RUN if os.path.lexists(folder / name)]
            place = _move(folder, names, [])
            _mend_base(folder, place)
            rank_zero_info(f"a new run begins: the earlier one in {folder} moved to {place}")
        return
    kept = checkpoint.resolve() if checkpoint is not None else None
    if kept in [(folder / _CHECKPOINTS / name).resolve() for name in (LAST, PREVIOUS)]:
        return
    later = [path for path in sorted((folder / _CHECKPOINTS).glob("*.ckpt")) if path.resolve() != kept]
    if later:
        names = [f"{_CHECKPOINTS}/{path.name}" for path in later]
        place = _move(folder, names, [_METRICS, _CONFIG])
        moved = ", ".join(path.name for path in later)
        rank_zero_info(f"going on from {checkpoint}: {moved} moved to {place / _CHECKPOINTS}")


def undo_interrupted_move(folder: Path) -> None:
    """Put back what a process that was killed while it moved an earlier run had moved so far.

    Nothing of a new run is written before the move is complete, so every name is free.

    Args:
        folder: A run's, locked.
    """
    for part in sorted((folder / EARLIER).glob(f"*{_PART}")):
        _put_back(part, folder)
        if part.exists():  # something new stands where it was: keep both
            part.rename(_free_place(folder))
        else:
            rank_zero_info(f"put back what an interrupted start had begun to move to {folder / EARLIER}")
            _remove_if_empty(folder / EARLIER)


def _holds_run(folder: Path) -> bool:
    has_checkpoint = any((folder / _CHECKPOINTS).glob("*.ckpt"))
    return has_checkpoint or any((folder / name).exists() for name in _RESULTS)


def _move(folder: Path, names: list[str], copied: list[str]) -> Path:
    """Move under a name that is not final yet, then make it final with one rename."""
    place = _free_place(folder)
    part = place.with_name(place.name + _PART)
    try:
        (part / _CHECKPOINTS if copied else part).mkdir(parents=True)
        for name in copied:
            if (folder / name).is_file():
                shutil.copy2(folder / name, part / name)
        for name in names:
            (folder / name).rename(part / name)
        part.rename(place)
    except OSError as error:
        undo_interrupted_move(folder)
        raise InputError(
            f"the earlier run in {folder} cannot be moved to {place} ({error.strerror}: {error.filename}): name "
            "another folder with --trainer.default_root_dir"
        ) from error
    return place


def _free_place(folder: Path) -> Path:
    taken = [int(path.stem) for path in (folder / EARLIER).glob("*") if path.stem.isdigit()]
    return folder / EARLIER / str(1 + max(taken, default=0))


def _put_back(source: Path, target: Path) -> None:
    if not os.path.lexists(target):
        source.rename(target)
    elif source.is_dir() and target.is_dir():
        for path in sorted(source.iterdir()):
            _put_back(path, target / path.name)
        _remove_if_empty(source)
    elif source.is_file() and target.is_file() and filecmp.cmp(source, target, shallow=False):
        source.unlink()


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def _mend_base(folder: Path, place: Path) -> None:
    """Have an exported adapter name its base where that is now: the next export puts another one in its place."""
    file = place / "adapter/adapter_config.json"
    if not file.is_file() or not (place / "base").is_dir():
        return
    settings = json.loads(file.read_text(encoding="utf-8"))
    if settings.get("base_model_name_or_path") == str((folder / "base").resolve()):
        settings["base_model_name_or_path"] = str((place / "base").resolve())
        file.write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")
