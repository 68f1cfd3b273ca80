"""The parser of the command line, as LightningCLI builds it, with values that arrive as they were written."""

import argparse
import ast
import json
from typing import Any, NoReturn

from lightning_modules.schedule_factory import ScheduleParser


class RunArgumentParser(ScheduleParser):
    """Raises errors for the caller to explain, and keeps `null` inside nested settings.

    Options have to be written in full: an abbreviation would change its meaning with the next option that is added.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **{**kwargs, "exit_on_error": False})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the error; the base class prints pages of usage before it.

        Raises:
            ArgumentError: Always.
        """
        raise argparse.ArgumentError(None, message) from ex

    def parse_args(self, args: Any = None, *rest: Any, **kwargs: Any) -> Any:
        """Parse arguments; see the base class.

        A value for a class inside a class, as in `--data.source.val null`, reaches that class's parser as Python's text
        of what YAML read, `None`, and would be taken for the name None.
        """
        if args is not None and getattr(self, "_inner_parser", False):
            args = [_as_yaml(argument) for argument in args]
        return super().parse_args(args, *rest, **kwargs)


def _as_yaml(argument: str) -> str:
    """Rewrite `--key=None`, or a mapping or list in Python's notation, in YAML's."""
    name, sep, text = argument.partition("=")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return argument
    return f"{name}{sep}{json.dumps(value)}" if value is None or isinstance(value, (dict, list)) else argument
