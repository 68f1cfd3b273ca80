"""The walk over the arguments of the command line, and over the config files among them."""

from collections.abc import Mapping
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from datamodules.errors import InputError
from lightning_modules.class_paths import one_class_of
from lightning_modules.setting_check import CONFIG_ENDINGS, OPAQUE, SettingCheck, implicit_level
from lightning_modules.setting_levels import Level, command_level
from lightning_modules.setting_types import class_types, expected, takes_mapping, takes_text
from lightning_modules.written_settings import Option, read_config, read_options

_CONFIG = ("-c", "--config")
_FLAGS = ("help", "print_config")


def find_wrong_setting(parser: ArgumentParser, args: list[str]) -> None:
    """Check arguments and the config files that they name.

    Args:
        parser: The subcommand's parser.
        args: Arguments behind the subcommand.

    Raises:
        InputError: The first setting that is wrong. Without it, nothing was found.
    """
    if any(option.name in _CONFIG and "://" in (option.value or "") for option in read_options(args)):
        return  # the parser reads remote files, the walk does not
    first = _Walk(parser, None)
    first.walk(args)
    _Walk(parser, first.root).walk(args)
    _require_all(first.root)


def find_null(parser: ArgumentParser, args: list[str]) -> None:
    """Check that null stands only where it is a value; the parser accepts it everywhere.

    Args:
        parser: The subcommand's parser.
        args: Arguments behind the subcommand.

    Raises:
        InputError: The first setting that must not be null.
    """
    walk = _Walk(parser, None)
    walk.walk(args)
    for problem in walk.nulls.values():
        raise problem


def _require_all(root: Level) -> None:
    missing = [key for key in ("model", "data") if root.given.get(key) is None]
    if missing:
        raise InputError(
            f"no {' and no '.join(missing)}: name a config behind --config, such as configs/quickstart/sft.yaml"
        )
    for level in root.below():
        for key in level.required:
            if level.given.get(key) is None:
                name = ".".join([*level.path, key])
                raise InputError(
                    f"{name} is missing and {level.owner} needs it: give it in the config or as --{name}, "
                    f"expected {expected(level.types[key], one_class_of)}"
                )


class _Walk(SettingCheck):
    """One pass over the arguments.

    Args:
        parser: The subcommand's parser.
        everything: What an earlier pass learned was given; None in that pass, which refuses nothing.
    """

    def __init__(self, parser: ArgumentParser, everything: Level | None) -> None:
        super().__init__(command_level(parser), everything)

    def walk(self, args: list[str]) -> None:
        """Check every option in turn."""
        for option in read_options(args):
            self.written = option
            if option.name in _CONFIG:
                self._config(option)
            elif not option.name.startswith("--") or option.name == "--":
                self._stray(option.name)
            elif option.name.removeprefix("--") not in _FLAGS:
                key = option.name.removeprefix("--").removesuffix("+")
                self._option(self.root, key.split("."), option)

    def _config(self, option: Option) -> None:
        if not option.value:
            raise InputError(f"{option.name} needs a file behind it")
        config = read_config(option.value)
        self.written = config
        self.mapping(self.root, config.settings, ())

    def _stray(self, text: str) -> None:
        if text.startswith("-conf"):
            self.refuse((), None, "did you mean --config?")
        elif text.endswith(CONFIG_ENDINGS):
            self.refuse((), None, "write --config before every config file")
        elif text not in ("-h", "-"):
            self.refuse((), None, "expected an option, such as --trainer.max_steps 10")

    def _option(self, level: Level, parts: list[str], option: Option) -> None:
        """Check an option of the command line, whose keys may lead through several classes."""
        for end in range(len(parts), 0, -1):
            key = ".".join(parts[:end])
            if key in level.types:
                self._known_option(level, key, parts[end:], option)
                return
            if level.is_group(key):
                self._group_option(level, key, parts[end:], option)
                return
        self.refuse_name(level, "", parts[0], (), None)

    def _group_option(self, level: Level, group: str, rest: list[str], option: Option) -> None:
        if rest and rest[0] != "help":
            self.refuse_name(level, group, rest[0], (), None)
        elif option.value is None:
            self.refuse((), None, f"needs a value, a mapping of {', '.join(level.names(group)[:3])} …")
        elif isinstance(value := self._as_yaml(option.value), Mapping):
            self.mapping(level, value, (), group)
        elif not option.value.endswith(CONFIG_ENDINGS):
            self.refuse((), None, f"expected a mapping of {', '.join(level.names(group)[:3])} …")

    def _known_option(self, level: Level, key: str, rest: list[str], option: Option) -> None:
        typehint, keys = level.types[key], (*level.path, key)
        classes = class_types(typehint)
        rest = rest[1:] if rest[:1] == ["init_args"] else rest
        if rest == ["help"]:
            self.class_path(classes, option.value, None, keys, ()) if option.value else None
        elif rest not in ([], ["class_path"]):
            self._inner_option(level, key, rest, option)
        elif option.value is None:
            self.refuse((), None, f"needs a value, expected {expected(typehint, one_class_of)}")
        elif rest:
            level.given[key] = self.class_path(classes, option.value, level.given.get(key), keys, ())
        else:
            as_text = takes_text(typehint) and not classes
            value = option.value if as_text else self._as_yaml(option.value)
            null = option.value in ("null", "~")
            self.setting(level, key, None if null else value, (), append=option.name.endswith("+"))

    def _inner_option(self, level: Level, key: str, rest: list[str], option: Option) -> None:
        """Check an option for a class inside a class."""
        typehint, before = level.types[key], level.given.get(key)
        inner = before[-1] if isinstance(before, list) and before else before
        if inner is OPAQUE or (inner is None and takes_mapping(typehint)):
            return
        if inner is None:
            inner = implicit_level(class_types(typehint), (*level.path, key))
            level.given[key] = inner
        if isinstance(inner, Level):
            self._option(inner, rest, option)
        elif class_types(typehint):
            name = ".".join([*level.path, key])
            classes = one_class_of(class_types(typehint))
            self.refuse((), None, f"no class was given yet: write --{name} before it, expected {classes}")
        else:
            name, is_what = ".".join([*level.path, key]), expected(typehint, one_class_of)
            self.refuse((), None, f"{name} is {is_what} and has no setting {'.'.join(rest)}")

    def _as_yaml(self, text: str) -> Any:
        """Return a mapping or list that the command line holds; other text stays as it is."""
        if text.lstrip()[:1] not in ("{", "["):
            return text
        try:
            return yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            self.refuse((), None, f"not valid YAML: {error.problem}")
            return text
