"""MovieLens-100k (Harper and Konstan, 2015), fetched from a package or from GroupLens."""

import hashlib
import io
import re
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from datamodules.errors import InputError, last_line, make_folder
from datamodules.filters import InteractionFilter
from datamodules.interactions import Interactions
from datamodules.sources.base import InteractionSource, sha256
from datamodules.sources.recbole import RecBoleSource
from datamodules.sources.wheel import fetch_from_wheel

_PACKAGE = "recbole==1.2.1"
_FOLDER_IN_WHEEL = "recbole/dataset_example/ml-100k"
_SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
_GROUPLENS = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_GROUPLENS_MD5 = "0e33842e24a9c977be4e0107933c0723"


class MovieLens100k(InteractionSource):
    """943 users, 1,682 films, 100,000 ratings.

    `prepare` takes the atomic files out of RecBole's wheel; where no package index answers it takes
    GroupLens' archive and writes the same files.

    Args:
        filters: Applied to the log in their order; ratings run from 1 to 5.
    """

    def __init__(self, filters: list[InteractionFilter] | None = None) -> None:
        super().__init__(filters)

    def _folder(self, cache_dir: Path) -> Path:
        return cache_dir / "ml-100k"

    def _reader(self, cache_dir: Path) -> RecBoleSource:
        return RecBoleSource(str(self._folder(cache_dir)), title_field="movie_title", rating_field="rating")

    def prepare(self, cache_dir: Path) -> None:
        """Fetches the two files unless they are there.

        Raises:
            InputError: Neither place could be reached, or a file there is not what it should be.
        """
        folder = self._folder(cache_dir)
        if all((folder / name).is_file() for name in _SHA256):
            _verify(folder)
            return
        make_folder(folder, "name another cache with --data.cache_dir")
        _write(folder, _fetched(folder))

    def content(self, cache_dir: Path) -> str:
        """Hashes the two files."""
        return self._reader(cache_dir).content(cache_dir)

    def read(self, cache_dir: Path) -> Interactions:
        """Reads the two files; see `RecBoleSource.read`."""
        return self._reader(cache_dir).read(cache_dir)


def _fetched(folder: Path) -> dict[str, bytes]:
    reasons = []
    for fetch in (_from_wheel, _from_grouplens):
        try:
            return fetch()
        except (InputError, OSError, KeyError, zipfile.BadZipFile) as error:
            reasons.append(last_line(error))
    raise InputError(
        f"MovieLens-100k cannot be fetched: {'; '.join(reasons)}; or unpack {_GROUPLENS} elsewhere and put "
        f"ml-100k.inter and ml-100k.item into {folder}"
    )


def _verify(folder: Path) -> None:
    for name, expected in _SHA256.items():
        found = sha256(folder / name)
        if found != expected:
            raise InputError(
                f"{folder / name} has SHA-256 {found[:12]}…, not {expected[:12]}…: delete it and try again"
            )


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Checks every file before the first is written, and renames into place."""
    for name, content in files.items():
        found = hashlib.sha256(content).hexdigest()
        if found != _SHA256[name]:
            raise InputError(
                f"the fetched {name} has SHA-256 {found[:12]}…, not {_SHA256[name][:12]}…: fetch it again"
            )
    for name, content in files.items():
        temporary = folder / f"{name}.tmp"
        temporary.write_bytes(content)
        temporary.rename(folder / name)


def _from_wheel() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        members = [f"{_FOLDER_IN_WHEEL}/{name}" for name in _SHA256]
        files = fetch_from_wheel(_PACKAGE, members, Path(folder))
        return {file.name: file.read_bytes() for file in files}


def _from_grouplens(open_url: Callable[..., io.BufferedIOBase] = urllib.request.urlopen) -> dict[str, bytes]:
    with open_url(_GROUPLENS, timeout=60) as response:
        content = response.read()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != _GROUPLENS_MD5:
        raise InputError(f"{_GROUPLENS} has MD5 {found}, not {_GROUPLENS_MD5}: fetch it again")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        ratings = archive.read("ml-100k/u.data").decode("ascii")
        films = archive.read("ml-100k/u.item").decode("latin-1")
    return {"ml-100k.inter": _to_inter(ratings), "ml-100k.item": _to_item(films)}


def _to_inter(ratings: str) -> bytes:
    return ("user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + ratings).encode()


def _to_item(films: str) -> bytes:
    """Splits `Toy Story (1995)` into title and year and names the genres, as RecBole's file does."""
    rows = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    for line in films.splitlines():
        item, title, *_, flags = line.split("|", 5)
        match = re.fullmatch(r"(.*) \(([^()]*)\)", title.strip())
        name, year = match.groups() if match else ("unkonwn", "unkonwn")  # RecBole's spelling
        genres = [genre for genre, flag in zip(_GENRES, flags.split("|"), strict=True) if flag == "1"]
        rows.append("\t".join([item, name, year, " ".join(genres)]))
    return ("\n".join(rows) + "\n").encode()


_GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
