"""Settings as they were written: config files with their line numbers, and the options of the command line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import InputError

KeyPath = tuple[str | int, ...]

_NUMBER = re.compile(r"-\.?\d")
_LONGEST = 60


class _Loader(yaml.SafeLoader):
    """Reads dates as text, as the parser does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class ConfigFile:
    """A config file.

    Attributes:
        name: Path as given.
        settings: Content in plain types.
        lines: Line of each key, counted from 1.
    """

    name: str
    settings: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def where(self, path: KeyPath, value: Any) -> str:
        """Return file, line, key and value of a setting."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        line = f" line {self.lines[known]}" if known is not None else ""
        return f"{self.name}{line}: {dotted(path)}: {shortened(value)}"


@dataclass(frozen=True)
class Option:
    """An option of the command line; `value` is None where none follows it."""

    name: str
    value: str | None

    def where(self, path: KeyPath = (), value: Any = None) -> str:
        """Return the option as it was typed."""
        return f"{self.name} {shortened(self.value)}" if self.value is not None else self.name


def dotted(path: KeyPath) -> str:
    """Return a key path as `trainer.callbacks[0].class_path`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def shortened(value: Any) -> str:
    """Return a value as YAML would write it, cut after 60 characters."""
    if isinstance(value, str):
        text = value
    else:
        text = (
            yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
            .removesuffix("...\n")
            .strip()
        )
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def read_options(args: list[str]) -> Iterator[Option]:
    """Split arguments into options with their values.

    Args:
        args: Arguments behind the subcommand.

    Yields:
        Every option; a value that belongs to none has itself as its name.
    """
    rest = list(args)
    while rest:
        name, sep, value = rest.pop(0).partition("=")
        if not name.startswith("-"):
            yield Option(name + sep + value, None)
        elif sep:
            yield Option(name, value)
        elif name.startswith("-c") and not name.startswith("--") and len(name) > 2 and "conf" not in name:
            yield Option("-c", name[2:])
        elif rest and not _is_option(rest[0]) and name not in ("--print_config", "--help", "-h"):
            yield Option(name, rest.pop(0))
        else:
            yield Option(name, None)


def _is_option(text: str) -> bool:
    return text.startswith("-") and len(text) > 1 and not _NUMBER.match(text) and " " not in text


def read_config(name: str) -> ConfigFile:
    """Read a config file.

    Args:
        name: Path, or YAML in its place.

    Raises:
        InputError: The file is missing, a folder, empty, no text, no YAML or no mapping.
    """
    if name.lstrip().startswith("{"):
        return _parse(name, "--config")
    path = Path(name)
    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.yaml"))
        raise InputError(f"--config {name} is a folder: name one file{_one_of(inside, ' in it, such as ')}")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"--config {name}: there is no such file{_similar_file(path)}") from None
    except UnicodeDecodeError:
        raise InputError(f"--config {name} is not a text file: a config is YAML") from None
    except OSError as error:
        raise InputError(f"--config {name} cannot be read: {error.strerror}") from None
    return _parse(text, name)


def _parse(text: str, name: str) -> ConfigFile:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        settings = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise InputError(f"{name}{_yaml_problem(error)}") from None
    if settings is None:
        raise InputError(
            f"--config {name} is empty: it must hold settings, such as `trainer: {{max_steps: 10}}`"
        )
    if not isinstance(settings, dict):
        raise InputError(
            f"--config {name} is not a mapping but {shortened(settings)}: a config holds settings, such as "
            "`trainer: {max_steps: 10}`"
        )
    return ConfigFile(name, settings, dict(_lines(node, ())))


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        tab = "; indent with spaces" if "'\\t'" in str(error.problem) else ""
        return f" line {mark.line + 1} column {mark.column + 1} is not valid YAML: {error.problem}{tab}"
    if isinstance(error, yaml.reader.ReaderError):
        return f" is not a text file: it holds the character #x{error.character:04x}; a config is YAML"
    return f" is not valid YAML: {' '.join(str(error).split())}"


def _lines(node: yaml.Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield (*path, key.value), key.start_mark.line + 1
                yield from _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _lines(value, (*path, index))


def _similar_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f", and no folder {folder}"
    names = sorted(file.name for file in folder.glob("*.y*ml"))
    by_stem = {Path(name).stem: name for name in names}
    similar = get_close_matches(path.stem, by_stem, n=1)
    return f"; did you mean {folder / by_stem[similar[0]]}?" if similar else ""


def _one_of(names: list[str], before: str) -> str:
    return before + names[0] if names else ""
