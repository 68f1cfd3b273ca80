"""One line for what the parser refuses: which setting, where it was written, and what was probably meant."""

from argparse import ArgumentError
from collections.abc import Mapping
from difflib import get_close_matches

from jsonargparse import ArgumentParser

from datamodules.errors import InputError
from lightning_modules.settings_walk import find_null, find_wrong_setting

_UNHELPFUL = ("Expected a <class 'NoneType'>", "either not accessible or invalid", "Given value")


def explain(error: Exception, parsers: Mapping[str, ArgumentParser], args: list[str]) -> InputError | None:
    """Return in one line what the parser refused.

    Args:
        error: What was raised.
        parsers: The parser of each subcommand.
        args: The arguments that were parsed.

    Returns:
        The line; None for an error that has nothing to do with the arguments.
    """
    problem = _wrong_command(args, list(parsers))
    if problem is not None:
        return InputError(problem)
    try:
        find_wrong_setting(parsers[args[0]], args[1:])
        find_null(parsers[args[0]], args[1:])
    except InputError as wrong:
        return wrong
    return InputError(innermost_message(error)) if isinstance(error, ArgumentError) else None


def _wrong_command(args: list[str], known: list[str]) -> str | None:
    """Say why the first argument is not a command."""
    if args and args[0] in known:
        return None
    commands = f"the first argument is one of {', '.join(known)}"
    if not args:
        return commands
    if args[0].startswith("-"):
        return f"{args[0]} stands in the command's place: {commands}"
    similar = get_close_matches(args[0].lower(), known, n=1)
    return f"there is no command {args[0]}: {f'did you mean {similar[0]}?' if similar else commands}"


def innermost_message(error: Exception) -> str:
    """Return the keys and the most deeply indented line of the parser's own message."""
    lines = str(error).splitlines() or [repr(error)]
    told = [line for line in lines if not any(text in line for text in _UNHELPFUL)] or lines
    keys = [line.split('"')[1] for line in told if 'Parser key "' in line]
    deepest = max(told, key=lambda line: len(line) - len(line.lstrip()))
    message = deepest.strip().removeprefix("- ")
    return f"{'.'.join(keys)}: {message}" if keys and "Parser key" not in message else message
