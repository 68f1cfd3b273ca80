"""Keys that stand twice in a YAML file, of which every reader of YAML silently takes the last."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from datamodules.errors import InputError

_YAML = (".yaml", ".yml")


def is_yaml(name: str | Path) -> bool:
    """Return whether there is a file whose name ends as a YAML file's does."""
    return Path(name).suffix in _YAML and Path(name).is_file()


def require_distinct_keys(path: Path) -> None:
    """Refuse a YAML file, or one that it names as a value, in which a mapping has a key twice.

    A file that is no YAML passes: whoever reads it reports that.

    Args:
        path: The file.

    Raises:
        InputError: It names the key and its lines.
    """
    _require_distinct_keys(path, set())


def _require_distinct_keys(path: Path, checked: set[Path]) -> None:
    if path.resolve() in checked:
        return
    checked.add(path.resolve())
    try:
        with path.open("rb") as file:
            root = yaml.compose(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError):
        return
    named: list[Path] = []
    for key, first, second in _repeated(root, "", set(), named):
        where = f"in line {first}" if first == second else f"in lines {first} and {second}"
        raise InputError(f"{path} has {key} twice, {where}: the last one would count; leave one out")
    for name in named:
        if is_yaml(path.parent / name):
            _require_distinct_keys(path.parent / name, checked)


def _repeated(
    node: yaml.Node | None, above: str, seen: set[int], named: list[Path]
) -> Iterator[tuple[str, int, int]]:
    """Yield every repeated key, with the keys above it, and the lines of the first and of the repetition.

    Args:
        node: Part of a file.
        above: The keys above it.
        seen: Nodes that were looked at: an alias is its anchor again.
        named: Is told the other YAML files that are values.
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode) and node.value.endswith(_YAML):
        named.append(Path(node.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated(value, f"{above}[{index}]", seen, named)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            name = f"{above}.{key.value}".removeprefix(".")
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                same = (key.tag, key.value)
                if same in lines:
                    yield name, lines[same], line
                lines[same] = line
            yield from _repeated(value, name, seen, named)
