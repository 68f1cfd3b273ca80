"""Standard output and error that outlive whoever reads them."""

import errno
import io
import sys
from typing import Any, TextIO

# A terminal that was closed, and a pipe whose reader has ended.
_UNREAD = (errno.EIO, errno.EPIPE)


class _Unread(io.FileIO):
    """A descriptor that drops what nobody can read any more."""

    def write(self, data: Any) -> int:
        """Writes, or pretends to."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _UNREAD:
                raise
            return len(data)


def outlive_readers() -> None:
    """Keeps printing from ending a run whose terminal was closed, or whose `tee` died of the same Ctrl-C.

    The error would come before the signal, and the step in hand would be lost. What somebody put in the place of the
    process's own streams (a notebook, a test) stays as it is.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _outliving(stream))


def _outliving(stream: TextIO) -> TextIO:
    stream.flush()
    buffered = io.BufferedWriter(_Unread(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(
        buffered,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=bool(stream.line_buffering),
        write_through=getattr(stream, "write_through", False),
    )
