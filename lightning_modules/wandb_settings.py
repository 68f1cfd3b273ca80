"""The W&B settings of a run: the config says them, and where it does not the environment may."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import wandb
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from pydantic import ValidationError
from wandb.errors import UsageError

from callbacks.wandb_run import Mode
from datamodules.errors import InputError

# A run's files and its id belong to its folder, whatever the environment says.
_OF_THE_FOLDER = ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_RESUME")
_YES = ("true", "1", "yes", "on")


@dataclass
class WandbSettings:
    """Weights & Biases.

    Attributes:
        mode: `offline` keeps the run on disk (`wandb sync` uploads it, `wandb leet` shows it), `online` sends it,
            `disabled` leaves metrics.csv alone. None takes WANDB_MODE from the environment, or else `offline`.
        project: Project name; None takes WANDB_PROJECT, or else `dynamicpo`.
        name: Run name; None takes WANDB_NAME, or else the run's folder.
    """

    mode: Literal["offline", "online", "disabled"] | None = None
    project: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class WandbChoice:
    """What holds for a run, see `WandbSettings`."""

    mode: Mode
    project: str
    name: str


def choose(settings: WandbSettings, environment: Mapping[str, str], folder_name: str) -> WandbChoice:
    """Settle what holds: the config's settings, then the environment's, then the defaults.

    A variable that is overruled is named.

    Args:
        settings: The config's.
        environment: Variables by name.
        folder_name: Name of a run that has none.

    Raises:
        InputError: A variable has a value that W&B does not know.
    """
    variables = {name: value for name, value in environment.items() if name.startswith("WANDB_") and value}
    if (
        variables.pop("WANDB_DISABLED", "").lower() in _YES
    ):  # an older name of the mode, which W&B has dropped
        variables["WANDB_MODE"] = "disabled"
    mode: Any = settings.mode or variables.get("WANDB_MODE", "offline")
    if settings.mode != "disabled":
        _require_known(variables)
    if mode != "disabled":
        _tell_overruled(settings, variables)
    if settings.project is not None and mode != "disabled":
        _require_taken("wandb.project", settings.project)
    return WandbChoice(
        mode=mode,
        project=settings.project or variables.get("WANDB_PROJECT", "dynamicpo"),
        name=settings.name or variables.get("WANDB_NAME", folder_name),
    )


def _require_taken(name: str, project: str) -> None:
    try:
        wandb.Settings(project=project)
    except (ValidationError, UsageError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise InputError(
            f"{name} is {project!r}, which W&B does not take ({reason}): take another"
        ) from error


def _require_known(variables: Mapping[str, str]) -> None:
    """Check every variable by itself: W&B would refuse all at once and tell neither name nor value."""
    mode = variables.get("WANDB_MODE", "offline")
    if mode not in get_args(Mode):
        raise InputError(
            f"WANDB_MODE is {mode!r} in the environment: set {', '.join(get_args(Mode))}, or unset it"
        )
    for name, value in variables.items():
        try:
            wandb.Settings().update_from_env_vars({name: value})
        except (ValidationError, UsageError) as error:
            shown = "a value" if "KEY" in name else repr(value)
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise InputError(
                f"{name} is {shown} in the environment, which W&B does not take ({reason}): mend or unset it"
            ) from error


def _tell_overruled(settings: WandbSettings, variables: Mapping[str, str]) -> None:
    for name in ("mode", "project", "name"):
        own, variable = getattr(settings, name), f"WANDB_{name.upper()}"
        if own is not None and variables.get(variable, own) != own:
            rank_zero_info(f"{variable}={variables[variable]} is ignored: wandb.{name} is {own}")
    for variable in _OF_THE_FOLDER:
        if variable in variables:
            rank_zero_info(f"{variable} is ignored: a run's W&B files and id are those of its folder")
