"""The check of settings as they were given, to find the one that the parser refuses.

The parser tries every alternative of a type and reports all failures. This check follows the classes that the settings
name, so that it meets the setting that is wrong and no other.
"""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from datamodules.errors import InputError
from lightning_modules.class_paths import NoSuchClassError, import_class, one_class_of
from lightning_modules.setting_levels import Level, class_level, meant
from lightning_modules.setting_types import (
    ClassType,
    accepts,
    class_types,
    element_type,
    expected,
    nearest_literal,
    takes_null,
    takes_text,
    without_classes,
)
from lightning_modules.written_settings import ConfigFile, KeyPath, Option

CONFIG_ENDINGS = (".yaml", ".yml", ".json")

_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
_PLAIN = "a value that is no class"
OPAQUE = "a class whose settings cannot be checked"


class SettingCheck:
    """Checks settings in the order in which they were given.

    Args:
        root: The command's settings, which learn what was given.
        everything: What an earlier pass learned was given; None in that pass, which refuses nothing.

    Attributes:
        nulls: What is wrong with each null, by its keys; the parser takes null everywhere.
    """

    def __init__(self, root: Level, everything: Level | None) -> None:
        self.root = root
        self.written: ConfigFile | Option = Option("", None)
        self._everything = everything
        self.nulls: dict[tuple[str, ...], InputError] = {}

    def refuse(self, path: KeyPath, value: Any, message: str) -> None:
        """Raise an error about a setting, but in the first pass.

        Args:
            path: Its keys in the config file.
            value: Its value.
            message: What is wrong.

        Raises:
            InputError: With the place where it was written.
        """
        if self._everything is not None:
            raise InputError(f"{self.written.where(path, value)}: {message}")

    def refuse_name(self, level: Level, group: str, name: str, path: KeyPath, value: Any) -> None:
        """Refuse a key that does not exist, with the one that was probably meant."""
        if self._everything is not None:
            in_config = isinstance(self.written, ConfigFile)
            better = meant(name, level, group, self._everything, in_config)
            owner = level.owner or group
            self.refuse(
                path, value, f"{owner or 'there is'}{' has' if owner else ''} no setting {name}; {better}"
            )

    def mapping(self, level: Level, settings: Mapping[Any, Any], path: KeyPath, group: str = "") -> None:
        """Check the keys of a mapping and what they hold."""
        for name, value in settings.items():
            key = f"{group}.{name}" if group else str(name)
            plain = key.removesuffix("+")
            if plain in level.types:
                self.setting(level, plain, value, (*path, name), append=plain != key)
            elif not level.is_group(key):
                inside, _, last = key.rpartition(".")
                self.refuse_name(level, inside, last, (*path, name), value)
            elif isinstance(value, Mapping):
                self.mapping(level, value, (*path, name), key)
            elif value is not None:
                self.refuse(
                    (*path, name), value, f"expected a mapping of {', '.join(level.names(key)[:3])} …"
                )

    def setting(self, level: Level, key: str, value: Any, path: KeyPath, append: bool = False) -> None:
        """Check a setting's value and keep the classes that it names."""
        typehint, before, keys = level.types[key], level.given.get(key), (*level.path, key)
        element = element_type(typehint)
        if not append or element is None:
            level.given[key] = self._value(typehint, value, before, keys, path)
            return
        added = [
            self._value(element, item, None, keys, path)
            for item in (value if isinstance(value, list) else [value])
        ]
        level.given[key] = [*(before if isinstance(before, list) else []), *added]

    def _value(self, typehint: Any, value: Any, before: Any, keys: tuple[str, ...], path: KeyPath) -> Any:
        """Check a value; return what `Level.given` keeps of it."""
        classes, element = class_types(typehint), element_type(typehint)
        self.nulls.pop(keys, None)
        if value is None:
            if not takes_null(typehint):
                is_what = f"null is no value here: expected {expected(typehint, one_class_of)}"
                self.nulls[keys] = InputError(f"{self.written.where(path, value)}: {is_what}")
            return None
        if isinstance(value, list) and element is not None:
            return [
                self._value(element, item, None, (*keys[:-1], f"{keys[-1]}[{index}]"), (*path, index))
                for index, item in enumerate(value)
            ]
        if isinstance(value, Mapping) and classes:
            return self._class(classes, value, before, keys, path)
        if isinstance(value, str) and classes and not self._fits(without_classes(typehint), value):
            return self.class_path(classes, value, before, keys, path)
        if not self._fits(typehint, value):
            similar = nearest_literal(typehint, value)
            better = f"; did you mean {similar}?" if similar else ""
            quotes = "; put text in quotes" if takes_text(typehint) else ""
            self.refuse(path, value, f"expected {expected(typehint, one_class_of)}{better}{quotes}")
        return _PLAIN

    def _fits(self, typehint: Any, value: Any) -> bool:
        return accepts(typehint, value, typed=isinstance(self.written, Option) and isinstance(value, str))

    def _class(
        self,
        classes: list[ClassType],
        value: Mapping[Any, Any],
        before: Any,
        keys: tuple[str, ...],
        path: KeyPath,
    ) -> Any:
        """Check a mapping that names a class or holds settings of the class named before."""
        if "class_path" in value:
            level = self.class_path(classes, value["class_path"], before, keys, (*path, "class_path"))
        else:
            level = before if before is not None else implicit_level(classes, keys)
        if level is None:
            for name in get_close_matches("class_path", map(str, value), n=1):
                self.refuse((*path, name), value[name], "did you mean class_path?")
            self.refuse(path, dict(value), f"class_path is missing: expected {one_class_of(classes)}")
        if not isinstance(level, Level):
            return level
        if not any(key in value for key in _CLASS_KEYS):
            self.mapping(level, value, path)
            return level
        for name in value:
            if name not in _CLASS_KEYS:
                self._beside(level, str(name), (*path, name), value[name])
        inside = value.get("init_args") or {}
        if isinstance(inside, Mapping):
            self.mapping(level, inside, (*path, "init_args"))
        else:
            self.refuse((*path, "init_args"), inside, f"expected a mapping of {level.owner}'s settings")
        return level

    def _beside(self, level: Level, name: str, path: KeyPath, value: Any) -> None:
        similar = get_close_matches(name, _CLASS_KEYS, n=1)
        if name in level.types:
            self.refuse(path, value, f"{name} stands beside class_path; write it inside init_args")
        elif similar:
            self.refuse(path, value, f"did you mean {similar[0]}?")
        else:
            self.refuse_name(level, "", name, path, value)

    def class_path(
        self, classes: list[ClassType], name: Any, before: Any, keys: tuple[str, ...], path: KeyPath
    ) -> Any:
        """Return the level of a named class, with those settings given before that it has too."""
        if isinstance(name, str) and name.endswith(CONFIG_ENDINGS):
            return OPAQUE
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            settings = implicit_level(classes, keys)
            expects = f"a mapping of {', '.join(settings.types)}" if settings else one_class_of(classes)
            self.refuse(path, name, f"expected {expects}")
            return OPAQUE
        try:
            kind = import_class(name, classes)
        except NoSuchClassError as error:
            self.refuse(path, name, str(error))
            return OPAQUE
        if kind is None:
            return OPAQUE
        skip = next(known.skip for known in classes if issubclass(kind, known.base))
        level = class_level(kind, skip, keys)
        if isinstance(before, Level):
            level.given = {key: child for key, child in before.given.items() if key in level.types}
        return level


def implicit_level(classes: list[ClassType], keys: tuple[str, ...]) -> Level | None:
    """Return the level of a class that needs no class path, as `LoRA`: it is the only one, with settings of its own."""
    for known in classes:
        level = class_level(known.base, known.skip, keys)
        if level.types and not known.skip and not inspect.isabstract(known.base):
            return level
    return None
