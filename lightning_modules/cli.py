"""The command line: LightningCLI with a folder per run, checkpoints that resume exactly, and errors of one line."""

import os
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from callbacks import (
    BestCheckpoint,
    Extension,
    FiniteLoss,
    LastCheckpoint,
    PredictionWriter,
    RecommendationWriter,
    ResultsTable,
    RNGState,
    TrainingMetrics,
    ValidationDue,
    ValidationLine,
    WholeSteps,
)
from callbacks.progress import progress
from callbacks.termination import TERMINATED, leaving_when_asked
from callbacks.wandb_run import finish_run
from datamodules import HistoryDataModule
from datamodules.errors import InputError
from datamodules.output_streams import outlive_readers
from datamodules.yaml_keys import is_yaml, require_distinct_keys
from lightning_modules.argument_parser import RunArgumentParser
from lightning_modules.checkpoint_files import CheckpointFiles, can_be_resumed
from lightning_modules.earlier_runs import undo_interrupted_move
from lightning_modules.failures import OF_A_SETTING, failure_line
from lightning_modules.fit_summary import fit_summary
from lightning_modules.folder_lock import is_first_process, locked
from lightning_modules.hidden_messages import hide_answered_advice
from lightning_modules.idle_settings import require_effective
from lightning_modules.lost_process import tells_of_a_lost_process
from lightning_modules.parser_errors import explain
from lightning_modules.random_seed import choose_seed, order_seed
from lightning_modules.run_folder import (
    require_checkpoint,
    require_elsewhere,
    require_new_folder,
    require_same_config,
    resolve_checkpoint,
    resolve_stage,
    run_folder,
)
from lightning_modules.run_loggers import run_loggers
from lightning_modules.run_record import RunRecord
from lightning_modules.settings_walk import find_null
from lightning_modules.trainer_modes import left_out, require_modes
from lightning_modules.wandb_settings import WandbSettings

TRAINER_DEFAULTS = {
    "max_epochs": -1,
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
    # The data modules' samplers know the ranks; Lightning's would pad evaluation with duplicates.
    "use_distributed_sampler": False,
}


class DynamicPOCLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict` of one config."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with ExitStack() as self._at_end:
            super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what every run has, so that a config's own `callbacks:` cannot replace it."""
        parser.add_argument(
            "--outputs", type=str, default="outputs", help="Where the folders of all runs are."
        )
        parser.add_class_arguments(WandbSettings, "wandb")
        parser.add_lightning_class_args(BestCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        best = {
            "filename": "best",
            "monitor": "val/hit_ratio@1",
            "mode": "max",
            "enable_version_counter": False,
            # Right after a validation, since the last checkpoint, which follows, has to know the best one.
            "save_on_train_epoch_end": False,
        }
        parser.set_defaults({f"best_checkpoint.{key}": value for key, value in best.items()})
        parser.link_arguments("seed_everything", "data.init_args.order_seed", compute_fn=order_seed)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Says in one line what is wrong with the arguments."""
        self._arguments = args if isinstance(args, list) else sys.argv[1:]
        try:
            super().parse_arguments(parser, args)
        except Exception as error:  # modules that a config names are imported here, and may raise anything
            problem = explain(error, self._subcommand_parsers, self._arguments)
            if problem is None:
                raise
            raise problem from error
        subcommand = self.config.subcommand
        config = self.config[subcommand]
        choose_seed(config, _folder(config), resumes=subcommand == "fit" and config.ckpt_path is not None)

    def _parse_ckpt_path(self) -> None:
        """Leaves the settings as they are: Lightning would take them from the checkpoint's hyperparameters."""

    def before_instantiate_classes(self) -> None:
        """Puts everything a run writes into its folder, and settles which checkpoint is meant."""
        config = self.config[self.subcommand]
        if self.subcommand == "fit":
            require_effective(config.trainer, config.best_checkpoint)
        self._has_table = config.get("verbose") is True
        if self._has_table:
            config.verbose = False  # Lightning's own table; `ResultsTable` takes its place
        if self.subcommand != "fit":  # the state of a callback matters to training alone
            warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
        own = _own_folder(config)
        folder = _folder(config)
        require_modes(self.subcommand, config.trainer, config.ckpt_path is not None)
        begins = self.subcommand == "fit" and config.ckpt_path is None and not config.trainer.fast_dev_run
        if begins and config.trainer.default_root_dir is None:
            require_new_folder(_config_files(config))
        config.trainer.default_root_dir = str(folder)
        settings = config.model.get("init_args")
        for start in ("init_from", "policy_from") if settings is not None else ():
            if settings.get(start):
                settings[start] = resolve_stage(settings[start], own)
                if begins:
                    require_elsewhere(f"model.{start}", settings[start], folder)
        for name in ("best_checkpoint", "last_checkpoint"):
            config[name].dirpath = str(folder / "checkpoints")
        for line in left_out(self.subcommand, config.trainer, folder):
            rank_zero_info(line)
        if not config.trainer.fast_dev_run:
            self._hold(folder)
        self._settle_checkpoint(folder)

    def _hold(self, folder: Path) -> None:
        """Lock the folder until the command ends; W&B's last words belong to it."""
        if is_first_process():
            self._at_end.enter_context(locked(folder))
            undo_interrupted_move(folder)
        self._at_end.callback(finish_run)

    def _settle_checkpoint(self, folder: Path) -> None:
        """Find the checkpoint that is meant, and check that this run may go on from it."""
        config = self.config[self.subcommand]
        if config.ckpt_path is not None:
            config.ckpt_path = resolve_checkpoint(config.ckpt_path, folder)
            if self.subcommand == "fit":
                record = RunRecord(self._parser("fit"), config)
                require_same_config(config.ckpt_path, record.computed_settings())
        elif self.subcommand != "fit" and not config.trainer.fast_dev_run:
            require_checkpoint(self.subcommand, folder)

    def instantiate_classes(self) -> None:
        """Says what a constructor refused, without the layers of parsing around it."""
        try:
            super().instantiate_classes()
        except (TypeError, ValueError, MisconfigurationException) as error:
            root: BaseException = error
            while root.__cause__ is not None:
                root = root.__cause__
            if isinstance(root, TypeError):
                find_null(self._subcommand_parsers[self.subcommand], self._arguments[1:])
            if isinstance(error, TypeError):
                raise
            raise InputError(str(root)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds the loggers and the callbacks that every run has."""
        config = self._get(self.config_init, "trainer")
        folder = config["default_root_dir"]
        recommends = isinstance(self.datamodule, HistoryDataModule)
        writer = RecommendationWriter(folder) if recommends else PredictionWriter(folder)
        own = [
            ValidationDue(),
            WholeSteps(),
            Extension(),
            FiniteLoss(),
            TrainingMetrics(),
            RNGState(),
            ValidationLine(),
            writer,
        ]
        if config["enable_progress_bar"] is not False:
            own.append(progress())
        if self._has_table:
            own.append(ResultsTable())  # after the bar, so that it is printed below
        plugins = config["plugins"] or []
        settings = {
            **config,
            "callbacks": [*(config["callbacks"] or []), *own],
            "logger": run_loggers(self.subcommand, self.config_init[self.subcommand]),
            "plugins": [*(plugins if isinstance(plugins, list) else [plugins]), CheckpointFiles()],
        }
        try:
            return self._instantiate_trainer({**settings, **kwargs}, self._checkpoints())
        except OF_A_SETTING as error:
            raise InputError(f"trainer: {error}") from error

    def _checkpoints(self) -> list[Callback]:
        """Return the callbacks that write checkpoints, in the modes that have some."""
        config = self._get(self.config_init, "trainer")
        if config["enable_checkpointing"] is False or config["fast_dev_run"]:
            return []
        names = self._parser(self.subcommand).callback_keys
        return [self._get(self.config_init, name) for name in names]

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs it; says in one line that another process of the run is gone.

        Raises:
            SystemExit: Another process ended or cannot be reached.
        """
        try:
            super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if not tells_of_a_lost_process(error):
                raise
            print(f"error: {self._lost_process()}", file=sys.stderr)
            sys.exit(1)

    def _lost_process(self) -> str:
        trainer = self.trainer
        saved = self.subcommand == "fit" and can_be_resumed(Path(trainer.default_root_dir) / "checkpoints")
        return (
            f"process {trainer.global_rank} of {trainer.world_size}: another process of this run ended or cannot be "
            f"reached: start all of them again, {'with --ckpt_path last' if saved else 'from the beginning'}"
        )

    def after_fit(self) -> None:
        """Say what came of a training that ended normally, and what to run next."""
        if self.trainer.is_global_zero and not self.trainer.fast_dev_run:
            print(fit_summary(self.trainer, self._arguments), flush=True)


def _config_files(config: Namespace) -> list[str]:
    return [str(path) for path in config.config or []]


def _own_folder(config: Namespace) -> Path:
    return run_folder(_config_files(config), Path(config.outputs))


def _folder(config: Namespace) -> Path:
    """The run's folder: the one that its config's path stands for, where no other is named."""
    return Path(config.trainer.default_root_dir or _own_folder(config))


def main(args: ArgsType = None) -> None:
    """Runs the command line.

    Args:
        args: Arguments to parse; None takes the process's.
    """
    hide_answered_advice()
    outlive_readers()
    if os.getcwd() not in sys.path:  # class paths may name modules beside the configs
        sys.path.append(os.getcwd())
    with leaving_when_asked():
        try:
            _require_distinct_keys(args)
            DynamicPOCLI(
                LightningModule,
                LightningDataModule,
                save_config_callback=RunRecord,
                trainer_defaults=TRAINER_DEFAULTS,
                seed_everything_default=0,
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                parser_class=RunArgumentParser,
                args=args,
            )
        except Exception as error:
            line = failure_line(error)
            if line is None:
                raise
            print(f"error: {line}", file=sys.stderr)
            sys.exit(2)
        except SIGTERMException:  # outside training there is nothing to save; Lightning would report success
            sys.exit(TERMINATED)


def _require_distinct_keys(args: ArgsType) -> None:
    """Checks the config files among the arguments; a key that stands twice would silently count once."""
    given = sys.argv[1:] if args is None else args
    if not isinstance(given, list):
        return
    for before, argument in zip(["", *given], given, strict=False):
        path = Path(argument.rpartition("=")[2])
        if is_yaml(path) or before == "--config":
            require_distinct_keys(path)
