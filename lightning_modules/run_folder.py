"""A run's folder: its config's path under the outputs, and what Lightning leaves to be put there."""

import re
import secrets
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn

from callbacks import MetricsCSV
from callbacks.wandb_run import WandbRun
from datamodules.errors import InputError
from lightning_modules.checkpoint_files import LAST, PREVIOUS, is_whole, set_aside
from lightning_modules.checkpoints import read_checkpoint

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
    """Maps `configs/quickstart/sft.yaml` to `outputs/quickstart/sft`; overlays after the first file change nothing."""
    if not config_files:
        return outputs / "run"
    path = Path(config_files[0]).with_suffix("")
    parts = path.parts
    if CONFIGS.name in parts:
        return outputs.joinpath(*parts[len(parts) - parts[::-1].index(CONFIGS.name) :])
    return outputs / path.name


def resolve_stage(init_from: str, folder: Path) -> str:
    """Maps the name of a run beside this one, as `sft`, to its best checkpoint; a path stays what it is.

    Args:
        init_from: A name or a path.
        folder: Where this run's config puts it.
    """
    is_name = Path(init_from).name == init_from and not Path(init_from).suffix
    return str(folder.parent / init_from / "checkpoints/best.ckpt") if is_name else init_from


def resolve_checkpoint(ckpt_path: str, folder: Path) -> str:
    """Maps `best` and `last` to the run's own files.

    Raises:
        InputError: There is no such file. Lightning would warn and start over.
    """
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


def wandb_run_id(folder: Path, new: bool) -> str:
    """Keeps a run's id beside its checkpoints, so that a resume, a test and a prediction belong to the run.

    Args:
        folder: The run's folder.
        new: Whether a new run begins.
    """
    path = folder / "wandb_run_id"
    # The first process alone logs; another one would write an id of its own over it.
    if rank_zero_only.rank == 0 and (new or not path.is_file()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(4))
    return path.read_text() if path.is_file() else ""


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


class RunRecord(SaveConfigCallback):
    """Keeps what a run was: `config.yaml`, the settings inside every checkpoint, and metrics.csv in step with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, overwrite=True, save_to_log_dir=False, **kwargs)
        self._num_lines: int | None = None

    @cached_property
    def plain_config(self) -> dict[str, Any]:
        """The whole configuration in plain types; a dump takes a quarter of a second, so once a run."""
        dump: dict[str, Any] = yaml.safe_load(
            self.parser.dump(self.config, skip_none=False, skip_link_targets=False)
        )
        return dump

    def computed_settings(self) -> dict[str, Any]:
        """What decides the result: `model` and `data`."""
        return {part: self.plain_config[part] for part in ("model", "data")}

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Writes `config.yaml` and tells the loggers; a test or prediction leaves the training's file alone."""
        path = Path(trainer.default_root_dir) / self.config_filename
        if stage == "fit" or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, path, skip_none=False, overwrite=True)
        for logger in trainer.loggers:
            logger.log_hyperparams(self.plain_config)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins metrics.csv, or cuts it where the checkpoint was written, and gives W&B what it lacks of it.

        Until here the folder was the earlier run's, with checkpoints to go on from; what cannot even start leaves them.
        """
        if trainer.is_global_zero:
            start = self.config.ckpt_path
            set_aside(Path(trainer.default_root_dir) / "checkpoints", Path(start) if start else None)
        for logger in _csv_loggers(trainer):
            if self._num_lines is None:
                logger.restart()
                continue
            logger.keep(self._num_lines)
            for other in trainer.loggers:
                if isinstance(other, WandbRun):
                    other.resume(logger.lines())
        if self._num_lines is not None:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            pl_module.print(
                f"resumed after step {trainer.global_step}; learning rate {rate:g}, from the checkpoint"
            )

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Stores the settings."""
        checkpoint["config"] = self.computed_settings()
        checkpoint["metrics_lines"] = 0
        if trainer.is_global_zero:
            lines = [logger.num_lines() for logger in _csv_loggers(trainer)]
            checkpoint["metrics_lines"] = max(lines, default=0)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Learns where metrics.csv stood."""
        if trainer.training:
            self._num_lines = checkpoint["metrics_lines"]


def _csv_loggers(trainer: pl.Trainer) -> list[MetricsCSV]:
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsCSV)]
