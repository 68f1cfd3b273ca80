"""Open a file as bytes, decompressed: plain, gzip, or a zip archive that holds one file. Other formats are named."""

import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import IO

from datamodules.errors import InputError

_BUFFER_BYTES = 1 << 20
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_OFFICE = "[Content_Types].xml"  # every workbook and document of Office is a zip archive with this file
_TAR = slice(257, 262)
# What the modules raise for archives that are cut, damaged, encrypted or packed in a way they do not know.
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)

# First bytes of files that are taken for text or JSON by mistake.
_FOREIGN = {
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
    b"BZh": "compressed with bzip2: decompress it, or compress it with gzip",
    b"\xfd7zXZ\x00": "compressed with xz: decompress it, or compress it with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard: decompress it, or compress it with gzip",
    b"7z\xbc\xaf": "a 7-Zip archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save it as CSV",
    b"%PDF": "a PDF: give CSV, JSON or Parquet",
    b"SQLite format 3": "an SQLite database: export a table as CSV",
    b"\x89HDF": "an HDF5 file: write it as CSV or Parquet",
    b"ARROW1": "an Arrow file: write it as Parquet",
    b"\x93NUMPY": "a NumPy array: write it as CSV or Parquet",
    b"\x80\x04": "a Python pickle: write it as CSV or Parquet",
    b"\x80\x05": "a Python pickle: write it as CSV or Parquet",
    b"<!DOCTYPE": "a web page: fetch the file itself",
    b"<!doctype": "a web page: fetch the file itself",
    b"<html": "a web page: fetch the file itself",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file with git lfs pull",
}


def require_file(path: Path) -> Path:
    """Return the path of a file that is there.

    Raises:
        InputError: It is missing, or a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the path of a file{_example(path)}")
    if not path.is_file():
        raise InputError(f"{path} is missing: give the path of a file")
    return path


def _example(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    return f" in it, {names[0]} for instance" if names else ""


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a file for reading; what it holds decides whether it is decompressed, not its name.

    Raises:
        InputError: It is missing, damaged, holds several files, or is of a format that nothing here reads.
    """
    begin = _magic(path)
    if begin.startswith(_GZIP):
        opened = _decompressed(gzip.GzipFile(path), path)
    elif begin == _ZIP:
        opened = _decompressed(_only_member(path), path)
    else:
        opened = path.open("rb")
    try:
        _refuse_foreign(path, opened.peek(_TAR.stop))
    except InputError:
        opened.close()
        raise
    return opened


def is_plain(path: Path) -> bool:
    """Return whether a file is neither gzip nor a zip archive."""
    begin = _magic(path)
    return not begin.startswith(_GZIP) and begin != _ZIP


def _magic(path: Path) -> bytes:
    with require_file(path).open("rb") as file:
        return file.read(len(_ZIP))


def first_bytes(path: Path, count: int) -> bytes:
    """Read the beginning of what a file holds; arguments and errors as in `open_bytes`."""
    with open_bytes(path) as file:
        return file.read(count)


def content_suffix(path: Path) -> str:
    """Return the ending of the name of what a file holds, in lower case: `.csv` for `a.csv`, `a.CSV.gz` and a zip."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return Path(path.stem).suffix.lower()
    if suffix == ".zip":
        with _only_member(path) as member:
            return Path(str(member.name)).suffix.lower()
    return suffix


def _refuse_foreign(path: Path, begin: bytes) -> None:
    for magic, name in _FOREIGN.items():
        if begin.lstrip().startswith(magic):
            raise InputError(f"{path} is {name}")
    if begin[_TAR] == b"ustar":
        raise InputError(f"{path} is a tar archive: unpack it")


def _only_member(path: Path) -> IO[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:  # a member that is open keeps its archive open
            names = [
                name for name in archive.namelist() if not (name.endswith("/") or name.startswith("__MACOSX"))
            ]
            if _OFFICE in names:
                raise InputError(f"{path} is an Excel workbook or another Office file: save it as CSV")
            if not names:
                raise InputError(f"{path} is an empty zip archive: restore the file")
            if len(names) > 1:
                some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
                raise InputError(f"{path} holds {len(names)} files ({some}): unpack it and give one")
            return archive.open(names[0])
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> InputError:
    return InputError(f"{path} cannot be decompressed ({error}): restore the file")


_Stream = IO[bytes] | gzip.GzipFile


class _Named(io.RawIOBase):
    """A stream whose errors name its file."""

    def __init__(self, stream: _Stream, path: Path) -> None:
        self._stream = stream
        self._path = path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except _DAMAGE as error:
            raise _damaged(self._path, error) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _decompressed(stream: _Stream, path: Path) -> io.BufferedReader:
    return io.BufferedReader(_Named(stream, path), _BUFFER_BYTES)
