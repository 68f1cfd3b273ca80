"""Checkpoint files that are whole or not there, and say themselves whether they were changed since."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from datamodules.errors import InputError

# Behind the archive that torch writes, where readers of archives ignore it. The archive's own checksums cover its
# members one by one, and torch does not look at all of them.
_MARK = b"sha256:"
_TRAILER_BYTES = len(_MARK) + 64

# The checkpoint to resume from, and the one before it.
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's way to write and read a checkpoint, for all that a run keeps.

    A file that cannot be written is no reason to lose the run: it is said aloud and kept in `failure` for whoever
    decides, see `LastCheckpoint`.

    Attributes:
        failure: The last error in writing that nobody has looked at yet.
    """

    def __init__(self) -> None:
        self.failure: OSError | None = None
        self._written: set[Path] = set()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Writes a checkpoint; the last one before it is kept if it is whole."""
        path = Path(path)
        try:
            # Hashing what this process wrote itself would cost as much as writing it.
            keep = path.name == LAST and path.is_file() and (path in self._written or is_whole(path))
            write_whole(checkpoint, path, path.with_name(PREVIOUS) if keep else None)
        except OSError as error:
            self.failure = error
            rank_zero_warn(f"{path} cannot be written ({error.strerror}); what stood there before is kept")
        else:
            self._written.add(path)

    def load_checkpoint(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Reads a checkpoint without running any code from it.

        Raises:
            InputError: It is not whole.
        """
        return read_whole(path)


class _Digest:
    """A file for `torch.save`: hashes what passes, and remembers an error that torch would turn into one of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        self.sha256.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept here."""


def write_whole(checkpoint: dict[str, Any], path: Path, previous: Path | None = None) -> None:
    """Writes beside the place, flushes, renames: a kill or a power cut at any moment leaves a whole file.

    Args:
        checkpoint: What to write.
        path: Its place.
        previous: Where to put what stands there now; None overwrites it.

    Raises:
        OSError: The disk is full, or the folder cannot be written; what stood there is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            digest = _Digest(file)
            torch.save(checkpoint, cast(IO[bytes], digest))
            if digest.error is not None:
                raise digest.error
            file.write(_MARK + digest.sha256.hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.is_file():
            os.replace(path, previous)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def _flush_folder(folder: Path) -> None:
    """Makes a rename outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def can_be_resumed(folder: Path) -> bool:
    """Returns whether `--ckpt_path last` finds a checkpoint.

    Args:
        folder: Of a run's checkpoints.
    """
    return (folder / LAST).is_file() or (folder / PREVIOUS).is_file()


def stored_digest(path: Path) -> str | None:
    """Return the SHA-256 that a checkpoint was written with; None where there is no file or none behind it."""
    try:
        with path.open("rb") as file:
            file.seek(-_TRAILER_BYTES, os.SEEK_END)
            trailer = file.read()
    except OSError:
        return None
    return trailer.removeprefix(_MARK).decode() if trailer.startswith(_MARK) else None


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is what was written: not torn, not changed."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - _TRAILER_BYTES
        if size <= 0:
            return False
        file.seek(0)
        digest, left = hashlib.sha256(), size
        while chunk := file.read(min(left, 1 << 20)):
            digest.update(chunk)
            left -= len(chunk)
        return file.read() == _MARK + digest.hexdigest().encode()


def read_whole(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a checkpoint to the CPU, without running any code from it.

    Raises:
        InputError: It is torn, was changed or is no checkpoint of `train.py`.
    """
    if not is_whole(Path(path)):
        foreign = _kind_of_foreign(Path(path))
        if foreign is None:
            raise _unreadable(path, "it is torn, or was changed after it was written")
        raise InputError(
            f"{path} is no readable checkpoint ({foreign}): give one that train.py wrote, such as "
            "outputs/quickstart/sft/checkpoints/best.ckpt"
        )
    return read_foreign(path)


def _kind_of_foreign(path: Path) -> str | None:
    """Say what a file is that another program wrote; None for a checkpoint of `train.py` that was damaged."""
    with path.open("rb") as file:
        start, size = file.read(16), file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TRAILER_BYTES))
        end = file.read()
    if not size:
        return "it is empty"
    if end.startswith(_MARK):
        return None
    if start.startswith(b"PK\x03\x04"):  # an archive that ends with its directory has no digest behind it
        is_plain_archive = end[-22:].startswith(b"PK\x05\x06")
        return "it was not written by train.py: it has no digest" if is_plain_archive else None
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size:
        return "it is a safetensors file, which holds weights alone"
    if start[:1] == b"\x80":
        return "it is a pickle"
    return "it is no file of torch.save"


def read_foreign(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads what another program saved with torch, which has no digest behind it; as `read_whole` otherwise."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler or zip reader meets
        raise _unreadable(path, str(error).strip().splitlines()[0]) from error
    return content


def _unreadable(path: str | os.PathLike[str], reason: str) -> InputError:
    return InputError(f"{path} is no readable checkpoint ({reason}): use an earlier one or train again")
