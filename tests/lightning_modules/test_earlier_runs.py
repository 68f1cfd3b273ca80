"""What a new run finds in its folder: moved whole, numbered, and safe against a kill at any rename."""

import json
import os
from pathlib import Path

import pytest

from lightning_modules.earlier_runs import goes_on, make_room, undo_interrupted_move
from tests.run_files import files_of

_RUN = {
    "checkpoints/best.ckpt": "b",
    "checkpoints/last.ckpt": "l",
    "checkpoints/previous.ckpt": "p",
    "config.yaml": "c",
    "metrics.csv": "m",
    "predictions.parquet": "r",
    "wandb/offline-run-1-x/run-x.wandb": "w",
    "wandb_run_id": "x",
    "model/model.safetensors": "s",
}
_OTHERS = {"notes.txt": "of the user", "begun.txt": "of the study", "wandb.yaml": "no folder of W&B's"}


def made(folder: Path, files: dict[str, str]) -> dict[str, bytes]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return files_of(folder)


def under(place: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{place}/{name}": content for name, content in files.items()}


def test_every_run_moves_whole_and_none_is_written_over(tmp_path: Path) -> None:
    others = made(tmp_path, _OTHERS)
    first = {name: text.encode() for name, text in _RUN.items()}
    made(tmp_path, _RUN)
    make_room(tmp_path, None)
    assert files_of(tmp_path) == {**others, **under("earlier/1", first)}
    made(tmp_path, {"metrics.csv": "second"})
    make_room(tmp_path, tmp_path / "elsewhere/checkpoints/last.ckpt")
    second = {"earlier/2/metrics.csv": b"second"}
    assert files_of(tmp_path) == {**others, **under("earlier/1", first), **second}
    make_room(tmp_path, None)  # there is no run now
    assert files_of(tmp_path) == {**others, **under("earlier/1", first), **second}


def test_a_folder_without_a_run_is_left_alone(tmp_path: Path) -> None:
    """What a full disk left of a checkpoint, and a folder of somebody's models, are no run."""
    before = made(tmp_path, {"checkpoints/last.tmp": "torn", "model/weights": "w", "wandb/x": "x"})
    make_room(tmp_path, None)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", ["last", "previous"])
def test_going_on_from_the_end_moves_nothing(name: str, tmp_path: Path) -> None:
    before = made(tmp_path, _RUN)
    make_room(tmp_path, tmp_path / f"checkpoints/{name}.ckpt")
    assert files_of(tmp_path) == before


def test_going_back_moves_the_later_checkpoints_with_a_copy_of_the_record(tmp_path: Path) -> None:
    before = made(tmp_path, _RUN)
    make_room(tmp_path, tmp_path / "checkpoints/best.ckpt")
    later = {f"checkpoints/{name}.ckpt" for name in ("last", "previous")}
    kept = {name: content for name, content in before.items() if name not in later}
    copied = later | {"metrics.csv", "config.yaml"}
    assert files_of(tmp_path) == {**kept, **under("earlier/1", {name: before[name] for name in copied})}


def test_only_a_checkpoint_of_this_folder_is_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert goes_on(Path("a"), tmp_path / "a/checkpoints/last.ckpt")
    assert not goes_on(Path("a"), Path("a/earlier/1/checkpoints/last.ckpt"))
    assert not goes_on(Path("a"), None)


@pytest.mark.parametrize("start", [None, "checkpoints/best.ckpt"])
def test_a_kill_before_any_rename_loses_nothing(
    start: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the n-th rename for every n: the next start finds the folder as it was, and moves it as if new."""
    rename = os.rename
    checkpoint = None if start is None else tmp_path / "0" / start
    whole = made(tmp_path / "0", _RUN)
    make_room(tmp_path / "0", checkpoint)
    expected = files_of(tmp_path / "0")
    for count in range(1, 20):
        folder, left = tmp_path / str(count), count
        assert made(folder, _RUN) == whole

        def dying(*paths: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt
            rename(*paths)  # type: ignore[call-overload]

        checkpoint = None if start is None else folder / start
        monkeypatch.setattr(os, "rename", dying)
        try:
            make_room(folder, checkpoint)
        except KeyboardInterrupt:
            pass
        else:
            break
        monkeypatch.setattr(os, "rename", rename)
        undo_interrupted_move(folder)
        assert files_of(folder) == whole
        make_room(folder, checkpoint)
        assert files_of(folder) == expected
    monkeypatch.setattr(os, "rename", rename)
    assert count == (9 if start is None else 4), "every name and the last rename were tried"


def test_an_exported_adapter_names_its_base_where_that_is_now(tmp_path: Path) -> None:
    """Its old place is where the next export puts another base."""
    settings = {"base_model_name_or_path": str(tmp_path.resolve() / "base"), "r": 2}
    made(
        tmp_path,
        {"config.yaml": "", "base/config.json": "{}", "adapter/adapter_config.json": json.dumps(settings)},
    )
    make_room(tmp_path, None)
    found = json.loads((tmp_path / "earlier/1/adapter/adapter_config.json").read_text())
    assert found == {**settings, "base_model_name_or_path": str(tmp_path.resolve() / "earlier/1/base")}
