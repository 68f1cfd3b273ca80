"""The one exception that means: the user's input is wrong, and this is how to mend it."""


class InputError(Exception):
    """Raised for data, settings or checkpoints that cannot be used.

    The message is one line: what is wrong, the offending value, the remedy. The command line prints it
    without a traceback and exits with status 2.
    """
