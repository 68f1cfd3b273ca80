"""The one exception that means: the user's input is wrong, and this is how to mend it."""


class InputError(Exception):
    """Raised for data, settings or checkpoints that cannot be used.

    The message is one line: what is wrong, the offending value, the remedy. The command line prints it
    without a traceback and exits with status 2.
    """


def last_line(error: BaseException) -> str:
    """Takes what an error says last, for a message of one line; tools that fail say most before that."""
    lines = str(error).strip().splitlines() or [repr(error)]
    return lines[-1]
