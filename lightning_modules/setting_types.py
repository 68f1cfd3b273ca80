"""Types of settings: whether a value fits one, and what it expects in plain words."""

import inspect
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import torch
from jsonargparse import ArgumentParser

from lightning_modules.written_settings import shortened

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    timedelta: "a time as DD:HH:MM:SS",
    types.NoneType: "null",
}
_UNSAID = (torch.Tensor,)  # torch's optimisers take a tensor for a number; nobody writes one in a config


@dataclass(frozen=True)
class ClassType:
    """A class that a setting names by its path.

    Attributes:
        base: The class must be this one or derived from it.
        skip: Positional arguments that the code gives, as an optimiser's parameters.
    """

    base: type
    skip: int = 0


def members(typehint: Any) -> list[Any]:
    """Return the alternatives of a type, with unions unpacked."""
    if get_origin(typehint) in (Union, types.UnionType):
        return [member for part in get_args(typehint) for member in members(part)]
    return [typehint]


def class_types(typehint: Any) -> list[ClassType]:
    """Return the classes that a class path may name where a setting has this type."""
    found = []
    for member in members(typehint):
        if get_origin(member) is Callable:
            arguments, returned = get_args(member)
            skip = len(arguments) if isinstance(arguments, list) else 0
            found += [ClassType(kind.base, skip) for kind in class_types(returned)]
        elif getattr(member, "_is_protocol", False):
            call = inspect.signature(member.__call__, eval_str=True)
            positional = [one for one in call.parameters.values() if one.kind is one.POSITIONAL_ONLY]
            skip = len(positional) - 1  # self
            found += [ClassType(kind.base, skip) for kind in class_types(call.return_annotation)]
        elif inspect.isclass(member) and not _is_plain(member):
            found.append(ClassType(member))
    return found


def without_classes(typehint: Any) -> Any:
    """Return a type without the alternatives that name a class."""
    plain = [
        member for member in members(typehint) if not class_types(member) and element_type(member) is None
    ]
    return Union[tuple(plain)] if plain else types.NoneType  # noqa: UP007 - built at run time


def _is_plain(member: type) -> bool:
    return member in _WORDS or member in _UNSAID or member.__module__ in ("builtins", "typing", "enum")


def element_type(typehint: Any) -> Any:
    """Return the type of a list's elements, None where no list fits."""
    for member in members(typehint):
        origin = get_origin(member)
        if inspect.isclass(origin) and issubclass(origin, Iterable) and not issubclass(origin, (dict, tuple)):
            return get_args(member)[0]
    return None


def takes_mapping(typehint: Any) -> bool:
    """Return whether a mapping that names no class fits."""
    return any(member is dict or get_origin(member) is dict or member is Any for member in members(typehint))


def takes_null(typehint: Any) -> bool:
    """Return whether null fits."""
    return any(member in (types.NoneType, Any) for member in members(typehint))


def takes_text(typehint: Any) -> bool:
    """Return whether any text fits."""
    return any(member in (str, Any) for member in members(typehint))


def accepts(typehint: Any, value: Any, typed: bool) -> bool:
    """Return whether a value fits a type.

    Args:
        typehint: The setting's type.
        value: The value in plain types.
        typed: Whether it is text from the command line, which is read as YAML where the type is not text.
    """
    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_argument("--value", type=typehint)
        if typed:
            parser.parse_args([f"--value={value}"])
        else:
            parser.parse_object({"value": value})
    except Exception:  # a type's own check may raise anything
        return False
    return True


def expected(typehint: Any, choices: Callable[[list[ClassType]], str]) -> str:
    """Return in words what a type takes.

    Args:
        typehint: The setting's type.
        choices: Names the class paths for some classes.
    """
    alternatives = members(typehint)
    said = [f"one of {', '.join(literals)}"] if (literals := _literals(typehint)) else []
    if classes := class_types(typehint):
        said.append(choices(classes))
    for member in alternatives:
        if (member is Path and str in alternatives) or (member is int and float in alternatives):
            continue
        if member in _WORDS:
            said.append(_WORDS[member])
        elif get_origin(member) in (list, tuple, set, Sequence, Iterable):
            said.append(_list_in_words(member, classes, choices))
        elif get_origin(member) is dict or member is dict:
            said.append("a mapping")
    said = list(dict.fromkeys(said))
    return " or ".join(sorted(said, key=lambda words: words == "null"))


def _list_in_words(member: Any, said: list[ClassType], choices: Callable[[list[ClassType]], str]) -> str:
    parts = [part for part in get_args(member) if part is not Ellipsis]
    if get_origin(member) is tuple:
        return f"a list of {len(parts)} values"
    if classes := class_types(parts[0]):
        return "a list of them" if classes == said else f"a list, each of it {choices(classes)}"
    return f"a list of {_plural(expected(parts[0], choices))}"


def _plural(words: str) -> str:
    return {"a whole number": "whole numbers", "a number": "numbers", "text": "texts"}.get(words, words)


def nearest_literal(typehint: Any, value: Any) -> str | None:
    """Return the choice that resembles a value."""
    similar = get_close_matches(shortened(value), _literals(typehint), n=1)
    return similar[0] if similar else None


def _literals(typehint: Any) -> list[str]:
    """Return the choices of a type, each once."""
    choices = [
        str(choice) for part in members(typehint) if get_origin(part) is Literal for choice in get_args(part)
    ]
    return list(dict.fromkeys(choices))
