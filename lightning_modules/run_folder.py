"""A run's folder: its config's path under the outputs, and what Lightning leaves to be put there."""

import csv
import re
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from datamodules.errors import InputError
from lightning_modules.checkpoint_files import LAST, PREVIOUS, is_whole
from lightning_modules.checkpoints import read_checkpoint
from lightning_modules.earlier_runs import EARLIER
from lightning_modules.run_record import is_saved_config

CONFIGS = Path("configs")

# Settings that change how fast a run is or what is tested after it, not what it computes; the data module itself checks
# that a batch over all processes stays as large as it was.
_FREE = (
    "model.init_args.reference_cache",
    *(
        f"data.init_args.{name}"
        for name in (
            "num_workers", "cache_dir", "eval_batch_size", "batch_size", "global_batch_size", "rows_per_chunk",
            "max_test_examples",
        )
    ),
)  # fmt: skip
_TEST_FILE = re.compile(r"data\.init_args\.source\.(\w+\.)*test")


def run_folder(config_files: list[str], outputs: Path) -> Path:
    """Map `configs/quickstart/sft.yaml` to `outputs/quickstart/sft`, and the `config.yaml` of a run to its folder.

    Overlays after the first file change nothing.
    """
    if not config_files:
        return outputs / "run"
    if is_saved_config(Path(config_files[0])):
        return Path(config_files[0]).parent
    path = Path(config_files[0]).with_suffix("")
    parts = path.parts
    if CONFIGS.name in parts:
        return outputs.joinpath(*parts[len(parts) - parts[::-1].index(CONFIGS.name) :])
    return outputs / path.name


def resolve_stage(init_from: str, folder: Path) -> str:
    """Maps the name of a run beside this one, as `sft`, or a run's folder to its best checkpoint.

    Another path stays what it is.

    Args:
        init_from: A name or a path.
        folder: Where this run's config puts it.
    """
    path = Path(init_from)
    if path.name == init_from and not path.suffix:
        return str(folder.parent / init_from / "checkpoints/best.ckpt")
    inside = (path / "checkpoints/best.ckpt", path / "best.ckpt")
    return str(next((file for file in inside if file.is_file()), init_from))


def resolve_checkpoint(ckpt_path: str, folder: Path) -> str:
    """Maps `best` and `last` to the run's own files.

    Raises:
        InputError: There is no such file. Lightning would warn and start over.
    """
    if not ckpt_path:
        raise InputError("--ckpt_path is empty: give best, last, or the path of a checkpoint")
    if ckpt_path == "last":
        return str(_last_whole(folder / "checkpoints"))
    path = folder / "checkpoints" / "best.ckpt" if ckpt_path == "best" else Path(ckpt_path)
    if ckpt_path == "best" and not path.is_file() and (last := path.with_name(LAST)).is_file():
        raise _no_best(path, last)
    if not path.is_file():
        raise _no_checkpoint(ckpt_path, path)
    return str(path)


def _last_whole(folder: Path) -> Path:
    """The newest checkpoint that is what was written."""
    last, previous = folder / LAST, folder / PREVIOUS
    if not (last.is_file() or previous.is_file()):
        raise _no_checkpoint("last", last)
    for path in (last, previous):
        if path.is_file() and is_whole(path):
            if path == previous:
                rank_zero_warn(
                    f"{last} is torn, changed or missing: going on from {previous}, the one before it"
                )
            return path
    raise InputError(
        f"neither {last} nor {previous} is as it was written: start over without --ckpt_path, or give the path of "
        "another checkpoint"
    )


def _no_checkpoint(ckpt_path: str, path: Path) -> InputError:
    if path.is_dir():
        found = sorted([*path.glob("*.ckpt"), *path.glob("checkpoints/*.ckpt")])
        remedy = f"give a file in it, such as {found[0]}" if found else "give the path of a checkpoint"
        return InputError(f"--ckpt_path {ckpt_path} is a folder: {remedy}")
    return InputError(
        f"--ckpt_path {ckpt_path}: there is no {path}: train without --ckpt_path first, or give the path of a "
        "checkpoint"
    )


def _no_best(path: Path, last: Path) -> InputError:
    step = read_checkpoint(last)["global_step"]
    metrics = path.parents[1] / "metrics.csv"
    header = metrics.read_text(encoding="utf-8").partition("\n")[0] if metrics.is_file() else ""
    if "val/" in header:
        return InputError(
            f"--ckpt_path best: {path} was moved or could not be written: take --ckpt_path last"
        )
    return InputError(
        f"--ckpt_path best: no validation ran before step {step}, so there is no {path}: take --ckpt_path last, or "
        "train with a smaller trainer.val_check_interval"
    )


def require_checkpoint(subcommand: str, folder: Path) -> None:
    """Refuse to evaluate the untrained model in the folder of a trained one, whose results it would replace.

    Args:
        subcommand: `validate`, `test` or `predict`, without a checkpoint.
        folder: Where its results go.

    Raises:
        InputError: The folder holds a trained run.
    """
    found = [
        path for path in (folder / "checkpoints/best.ckpt", folder / f"checkpoints/{LAST}") if path.is_file()
    ]
    if found or any((folder / "checkpoints").glob("*.ckpt")) or _was_trained(folder / "metrics.csv"):
        name = found[0].stem if found else "PATH"
        raise InputError(
            f"{subcommand} without --ckpt_path takes the model as it was before training, and its results would be "
            f"taken for those of the trained run in {folder}: give --ckpt_path {name}, or another folder with "
            "--trainer.default_root_dir"
        )


def require_new_folder(config_files: list[str]) -> None:
    """Refuse to train again from a run's saved `config.yaml` without saying where.

    Raises:
        InputError: The first file is a saved one.
    """
    if config_files and is_saved_config(Path(config_files[0])):
        raise InputError(
            f"{config_files[0]} is the saved config of a run: name the folder of the new run with "
            "--trainer.default_root_dir, or give --ckpt_path last to go on with the old one"
        )


def require_elsewhere(setting: str, start: str, folder: Path) -> None:
    """Refuse to start a new run from weights of the run that it would move aside.

    Args:
        setting: `model.init_from` or `model.policy_from`.
        start: Its value.
        folder: The new run's.

    Raises:
        InputError: The weights are in the new run's folder, and not among its earlier runs.
    """
    path, own = Path(start).resolve(), folder.resolve()
    if path.is_relative_to(own) and not path.is_relative_to(own / EARLIER):
        raise InputError(
            f"{setting} {start} is of the run in {folder}, which the new run would move aside: name another folder "
            "with --trainer.default_root_dir"
        )


def _was_trained(metrics: Path) -> bool:
    if not metrics.is_file():
        return False
    with metrics.open(newline="", encoding="utf-8") as file:
        return "train/loss" in next(csv.reader(file), [])


def require_same_config(path: str, config: dict[str, Any]) -> None:
    """Refuses to resume a run under other settings, which would silently be another experiment.

    Args:
        path: The checkpoint.
        config: `model` and `data` as they are asked for now, in plain types.

    Raises:
        InputError: It lists every difference.
    """
    saved = read_checkpoint(path).get("config")
    if saved is None:
        raise InputError(
            f"{path} was not written by train.py: it does not say which settings it was trained with"
        )
    then, now = _flat(saved), _flat(config)
    differences = [
        f"{key} was {then.get(key)!r} and is {now.get(key)!r}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key) and not key.startswith(_FREE) and not _TEST_FILE.fullmatch(key)
    ]
    if differences:
        raise InputError(
            f"{path} was trained with other settings: {'; '.join(differences)}: resume with the old ones, or start a "
            "new run without --ckpt_path"
        )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {
            key: leaf
            for name, value in tree.items()
            for key, leaf in _flat(value, f"{prefix}.{name}").items()
        }
    return {prefix.removeprefix("."): tree}
