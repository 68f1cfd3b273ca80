"""Class paths of a config: the class that is meant, or one line that says why there is none."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from lightning_modules.setting_types import ClassType

_OWN = (
    "losses",
    "callbacks",
    "datamodules",
    "datamodules.sources",
    "lightning_modules",
    "lightning_modules.baselines",
)
_LIBRARIES = (
    "torch.optim",
    "torch.optim.lr_scheduler",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
    "lightning.pytorch.profilers",
    "lightning.pytorch.strategies",
)
_MOST_CHOICES = 8


class NoSuchClassError(Exception):
    """Raised where a class path names no usable class; the message says why."""


def class_choices(types: list[ClassType]) -> list[str]:
    """Return the paths of the classes that fit, as a config writes them; the project's own where there are any.

    Args:
        types: Alternatives, of which one has to fit.
    """
    own = _exported(types, _OWN) or _exported(types, [kind.base.__module__ for kind in types])
    return own or _exported(types, _LIBRARIES) or [_path_of(kind.base) for kind in types]


def one_class_of(types: list[ClassType]) -> str:
    """Return `a class: one of …` with the first paths that fit."""
    paths = class_choices(types)
    more = f" and {len(paths) - _MOST_CHOICES} more" if len(paths) > _MOST_CHOICES else ""
    return f"a class: {'one of ' if len(paths) > 1 else ''}{', '.join(paths[:_MOST_CHOICES])}{more}"


def import_class(path: str, types: list[ClassType]) -> type | None:
    """Import what a class path names.

    Args:
        path: Class path, or the name alone of a class that is imported.
        types: Alternatives, of which one has to fit.

    Returns:
        The class; None for a function that makes one.

    Raises:
        NoSuchClassError: It does not exist, cannot be imported, is abstract or does not fit.
    """
    found = _import(path, types) if "." in path else _by_name(path, types)
    if not inspect.isclass(found):
        if _makes(found, types):
            return None
        raise NoSuchClassError(f"this is not a class; expected {one_class_of(types)}")
    if inspect.isabstract(found):
        raise NoSuchClassError(f"this class is abstract; expected {one_class_of(types)}")
    if not any(_fits(found, kind) for kind in types):
        wanted = " or ".join(kind.base.__name__ for kind in types)
        raise NoSuchClassError(f"this class does not derive from {wanted}; expected {one_class_of(types)}")
    return found


def _makes(function: Any, types: list[ClassType]) -> bool:
    """Return whether a function returns an object of one of the classes, by its annotations."""
    try:
        made = inspect.signature(function, eval_str=True).return_annotation
    except (TypeError, ValueError, NameError):
        return False
    return inspect.isclass(made) and any(_fits(made, kind) for kind in types)


def _fits(found: type, kind: ClassType) -> bool:
    return issubclass(found, kind.base)


def _import(path: str, types: list[ClassType]) -> Any:
    module_name, name = path.rsplit(".", 1)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise NoSuchClassError(_import_problem(module_name, error)) from error
        raise NoSuchClassError(f"there is no module {error.name}{_meant(path, types)}") from error
    except Exception as error:  # a module of the user's own may raise anything
        raise NoSuchClassError(_import_problem(module_name, error)) from error
    if not hasattr(module, name):
        raise NoSuchClassError(f"{module_name} has no {name}{_meant(path, types, module)}")
    return getattr(module, name)


def _import_problem(module: str, error: BaseException) -> str:
    """Name the file and the line at which an import failed."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{_relative(error.filename)} line {error.lineno}"
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_foreign(frame.filename)]
        place = (
            f"{_relative(frames[-1].filename)} line {frames[-1].lineno}" if frames else f"the module {module}"
        )
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{module} cannot be imported: {place}: {type(error).__name__}: {' '.join(said.split())}"


def _is_foreign(filename: str) -> bool:
    return filename != __file__ and not filename.startswith("<") and Path(filename).parent.name != "importlib"


def _relative(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


def _by_name(name: str, types: list[ClassType]) -> Any:
    """Find a class by its name alone, among those that are imported."""
    derived: list[type] = [kind for base in types for kind in _derived(base.base)]
    found = {_path_of(kind): kind for kind in derived if kind.__name__ == name}
    if len(set(found.values())) > 1:
        raise NoSuchClassError(f"several classes are called {name}: {', '.join(sorted(found))}")
    if not found:
        raise NoSuchClassError(f"there is no class {name}{_meant(name, types)}")
    return next(iter(found.values()))


def _derived(base: type) -> list[type]:
    children: list[type] = type.__subclasses__(base)
    return [base, *(kind for child in children for kind in _derived(child))]


def _meant(path: str, types: list[ClassType], module: ModuleType | None = None) -> str:
    """Return the class path that resembles the one given, or the ones that there are."""
    choices = [*_exported(types, _OWN), *_exported(types, _LIBRARIES)]
    if module is not None:
        choices += [f"{module.__name__}.{name}" for name in _fitting(module, types)]
    by_name = {choice.rsplit(".", 1)[-1].lower(): choice for choice in reversed(choices)}
    name = path.rsplit(".", 1)[-1].lower()
    similar = [known for known in by_name if known.startswith(name)]
    similar = similar or get_close_matches(name, by_name, n=1, cutoff=0.7)
    return f"; did you mean {by_name[similar[0]]}?" if similar else f"; expected {one_class_of(types)}"


def _exported(types: list[ClassType], modules: Iterable[str]) -> list[str]:
    return [
        f"{name}.{kind}"
        for name in modules
        if name in sys.modules
        for kind in _fitting(sys.modules[name], types)
    ]


def _fitting(module: ModuleType, types: list[ClassType]) -> list[str]:
    return [
        name
        for name, kind in sorted(vars(module).items())
        if inspect.isclass(kind)
        and not name.startswith("_")
        and not inspect.isabstract(kind)
        and any(_fits(kind, known) and kind is not known.base for known in types)
    ]


def _path_of(kind: type) -> str:
    """Return the shortest path at which a class can be imported."""
    parts = kind.__module__.split(".")
    for end in range(1, len(parts)):
        module = sys.modules.get(".".join(parts[:end]))
        if module is not None and getattr(module, kind.__name__, None) is kind:
            return f"{module.__name__}.{kind.__name__}"
    return f"{kind.__module__}.{kind.__name__}"
