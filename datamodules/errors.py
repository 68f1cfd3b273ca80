"""The one exception that means: the user's input is wrong, and this is how to mend it."""

from pathlib import Path


class InputError(Exception):
    """Raised for data, settings or checkpoints that cannot be used.

    The message is one line: what is wrong, the offending value, the remedy. The command line prints it
    without a traceback and exits with status 2.
    """


def make_folder(folder: Path, remedy: str) -> None:
    """Make a folder and those above it.

    Raises:
        InputError: It cannot be made; the message ends with the remedy.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file has its name" if isinstance(error, FileExistsError) else error.strerror
        raise InputError(f"folder {folder} cannot be made ({reason}): {remedy}") from error


def last_line(error: BaseException) -> str:
    """Takes what an error says last, for a message of one line; tools that fail say most before that."""
    lines = str(error).strip().splitlines() or [repr(error)]
    return lines[-1]
