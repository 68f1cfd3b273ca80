"""JSON rows, streamed: an array of objects or an object a line, with the line on which each begins."""

import io
import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from datamodules.errors import InputError
from datamodules.sources.broken import BrokenRows
from datamodules.sources.opened import open_bytes

_BEGINNING = 1 << 12
_BLOCK_CHARACTERS = 1 << 20
_MOST_CHARACTERS = 1 << 26  # a longer element is a broken one, and reading on would read the whole file


def json_rows(broken: BrokenRows) -> Iterator[tuple[int, Any]]:
    """Yields the rows of a file that is one JSON array, or has a JSON value a line; its first character tells.

    Args:
        broken: The file; takes rows that are broken, as `json_array` and `json_lines` do.

    Yields:
        The line on which a row begins, and its value.

    Raises:
        InputError: The file is empty, or as in `json_array` and `json_lines`.
    """
    first = _first_character(broken.path)
    if not first:
        raise InputError(f"{broken.path} is empty: restore the file")
    return json_array(broken) if first == b"[" else json_lines(broken)


def is_json(path: Path) -> bool:
    """Tell by its first character whether a file holds JSON objects; a table of text begins with a name.

    Raises:
        InputError: There is no file.
    """
    return _first_character(path) in (b"[", b"{")


def _first_character(path: Path) -> bytes:
    with open_bytes(path) as file:
        while block := file.read(_BEGINNING):
            if text := block.removeprefix(BOM_UTF8).lstrip():
                return text[:1]
    return b""


def json_lines(broken: BrokenRows) -> Iterator[tuple[int, Any]]:
    """Yields the values of a file with one JSON value a line; empty lines are passed over.

    Args:
        broken: The file; takes lines that are not JSON or not UTF-8.

    Yields:
        The number of a line, and its value.

    Raises:
        InputError: The file is missing or a line is broken.
    """
    with open_bytes(broken.path) as file:
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                # Bytes would be taken for UTF-16 where they look like it, and asking costs a third of the time.
                text = line.removeprefix(BOM_UTF8).decode()
                value = json.loads(text)
                _require_whole_characters(text, value)
            except (ValueError, RecursionError) as error:
                broken.at(f"line {number}", f"{error} in {_beginning(line)}")
            else:
                yield number, value


def _require_whole_characters(text: str, value: Any) -> None:
    """Raises a `ValueError` where JSON escapes half a character, which is no text and cannot be written."""
    if "\\ud" not in text and "\\uD" not in text:  # what most rows have not is found out soonest
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[error.start]!a} is half a character") from error


def json_array(broken: BrokenRows) -> Iterator[tuple[int, Any]]:
    """Yields the elements of a file that is one JSON array; one block and one element are in memory at a time.

    Args:
        broken: The file; takes elements that hold half a character.

    Yields:
        The line on which an element begins, and the element.

    Raises:
        InputError: The file is missing, is no array, ends too early or goes on after it, or is not UTF-8, or an
            element is broken.
    """
    with io.TextIOWrapper(open_bytes(broken.path), encoding="utf-8-sig", newline="") as file:
        text = _Window(file, broken.path)
        text.take("[")
        more = text.next() != "]"
        while more:
            line = text.line
            try:
                value = text.value()
            except ValueError as error:
                broken.at(f"line {line}", str(error))
            else:
                yield line, value
            if more := text.next() != "]":
                text.take(",")
        text.take("]")
        text.require_end()


class _Window:
    """A moving window over a text file.

    Attributes:
        line: The line of the next character that is not white space, once `next` has been called.
    """

    def __init__(self, file: TextIO, path: Path) -> None:
        self.line = 1
        self._file = file
        self._path = path
        self._text = ""
        self._place = 0
        self._decoder = json.JSONDecoder()

    def _read_on(self) -> bool:
        """Forgets what has been passed and adds a block; says whether there was one."""
        try:
            block = self._file.read(max(_BLOCK_CHARACTERS, len(self._text) - self._place))
        except UnicodeDecodeError as error:
            line = _undecodable_line(self._path)
            raise InputError(f"{self._path}, line {line}: {error.reason}: the file must be UTF-8") from error
        self._text = self._text[self._place :] + block
        self._place = 0
        return bool(block)

    def _move(self, place: int) -> None:
        self.line += self._text.count("\n", self._place, place)
        self._place = place

    def next(self) -> str:
        """Passes over white space and shows the character after it; empty at the end."""
        while True:
            rest = len(self._text)
            place = self._place
            while place < rest and self._text[place] in " \t\r\n":
                place += 1
            self._move(place)
            if place < rest:
                return self._text[place]
            if not self._read_on():
                return ""

    def take(self, character: str) -> None:
        """Passes over a character that must come next."""
        found = self.next()
        if found != character:
            self._fail(
                f"expected {character!r}, found {found!r}"
                if found
                else f"the file ends where {character!r} must come"
            )
        self._move(self._place + 1)
        self.next()

    def require_end(self) -> None:
        """Refuses anything but white space up to the end."""
        if found := self.next():
            self._fail(f"the array has ended, found {found!r}")

    def value(self) -> Any:
        """Reads the JSON value that comes next; a `ValueError` says that it holds half a character."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                # Either the block ends inside the value or the value is broken: more text tells which.
                if len(self._text) - self._place > _MOST_CHARACTERS or not self._read_on():
                    self._fail(f"{error.msg} in {_beginning(self._text[self._place :])}")
            except (ValueError, RecursionError) as error:  # a number or a depth beyond what Python takes
                self._fail(f"{error} in {_beginning(self._text[self._place :])}")
            else:
                text = self._text[self._place : end]
                self._move(end)
                _require_whole_characters(text, value)
                return value

    def _fail(self, reason: str) -> None:
        raise InputError(f"{self._path}, line {self.line}: {reason}: restore the file")


def _beginning(text: str | bytes) -> str:
    return repr(text[:40])


def _undecodable_line(path: Path) -> int:
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0
