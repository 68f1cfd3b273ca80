"""Messages that arrive while a progress bar stands."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


@contextmanager
def messages_above_bars() -> Iterator[None]:
    """Write warnings and what loggers print above the bars, which would otherwise share a line with them."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    streams = (sys.stdout, sys.stderr)
    printing = [
        logger
        for logger in loggers
        if isinstance(logger, logging.Logger)
        and any(getattr(handler, "stream", None) in streams for handler in logger.handlers)
    ]
    before = warnings.showwarning

    def show(
        message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        Tqdm.write(text, file=file or sys.stderr, end="")

    warnings.showwarning = show
    try:
        with logging_redirect_tqdm(printing, Tqdm):
            yield
    finally:
        warnings.showwarning = before
