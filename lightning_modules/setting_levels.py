"""The settings that exist: those of a command, and of every class that a config names."""

from argparse import Action
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any

from jsonargparse import ArgumentParser

from lightning_modules.schedule_factory import ScheduleParser

_MOST_NAMES = 25


@dataclass
class Level:
    """The settings of one class, or of the command itself.

    Attributes:
        owner: The class, as a message calls it; empty for the command.
        types: Type of each setting; a group's settings have dotted keys, as `trainer.max_steps`.
        required: Settings without a default.
        path: Keys from the command to here, one a level.
        given: What was given: the levels of the classes inside, and None for a plain value.
    """

    owner: str
    types: dict[str, Any]
    required: list[str]
    path: tuple[str, ...] = ()
    given: dict[str, Any] = field(default_factory=dict)

    def is_group(self, key: str) -> bool:
        """Return whether a key stands for several settings, as `trainer`."""
        return any(known.startswith(f"{key}.") for known in self.types)

    def names(self, group: str) -> list[str]:
        """Return the keys that may follow a group's, or all first keys."""
        start = f"{group}." if group else ""
        return list(
            dict.fromkeys(key[len(start) :].split(".")[0] for key in self.types if key.startswith(start))
        )

    def below(self) -> list["Level"]:
        """Return the levels of the classes inside this one, outermost first."""
        found: list[Level] = []
        for child in self.given.values():
            for level in child if isinstance(child, list) else [child]:
                if isinstance(level, Level):
                    found += [level, *level.below()]
        return found


def command_level(parser: ArgumentParser) -> Level:
    """Return the settings of a command."""
    types, required = _settings(parser)
    return Level("", types, required)


def class_level(kind: type, skip: int, path: tuple[str, ...]) -> Level:
    """Return the settings of a class.

    Args:
        kind: The class.
        skip: Positional arguments that the code gives.
        path: Keys from the command to the class.
    """
    types, required = _class_settings(kind, skip)
    return Level(kind.__name__, types, required, path)


@cache
def _class_settings(kind: type, skip: int) -> tuple[dict[str, Any], list[str]]:
    parser = ScheduleParser(exit_on_error=False)
    parser.add_class_arguments(kind, fail_untyped=False, **({"skip": {skip}} if skip else {}))
    return _settings(parser)


def _settings(parser: ArgumentParser) -> tuple[dict[str, Any], list[str]]:
    actions: list[Action] = [
        action
        for action in parser._actions
        if getattr(action, "_typehint", None) is not None and not action.dest.endswith(".help")
    ]
    required = [action.dest for action in actions if action.required]
    return {action.dest: getattr(action, "_typehint", None) for action in actions}, required


def meant(name: str, level: Level, group: str, root: Level, in_config: bool) -> str:
    """Return what to write in place of a key that does not exist.

    Args:
        name: The key.
        level: Where it was looked for.
        group: The group that it was looked for in.
        root: The command's settings, with everything that was given.
        in_config: Whether to name a setting as a config does, with `init_args`.
    """
    is_root = not level.path
    names = level.names(group) + (["config"] if is_root else [])
    joint = ".init_args." if in_config else "."
    similar = [known for known in names if is_root and known.startswith(f"{name}_")]
    similar = similar or get_close_matches(name, names, n=1)
    if is_root and not group and similar:
        return f"did you mean {_flag(similar[0], in_config)}?"
    for place in (*level.below(), root, *root.below()):
        for key in place.types:
            if key.split(".")[-1] == name:
                return f"did you mean {_flag(joint.join([*place.path, key]), in_config)}?"
    if similar:
        full = similar[0] if in_config else ".".join(filter(None, [*level.path, group, similar[0]]))
        return f"did you mean {_flag(full, in_config)}?"
    if len(names) > _MOST_NAMES:
        return "--help all lists its settings"
    return f"it has {', '.join(names)}" if names else "it has no settings"


def _flag(key: str, in_config: bool) -> str:
    return key if in_config else f"--{key}"
