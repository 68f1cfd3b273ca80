"""Files of the Hugging Face hub, by name, revision and checksum, for whoever reaches it."""

import lzma
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Literal

from huggingface_hub import hf_hub_download

from datamodules.checks import require_text
from datamodules.corpus import Corpus, ExampleRules
from datamodules.errors import InputError
from datamodules.sources.base import Source, SourceSettings, sha256

# What the archive modules raise for archives that are cut, damaged, encrypted or packed in a way they do not know.
_UNPACKING_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubSource(Source):
    """Fetches files into a folder before another source reads them there; archives are unpacked.

    The files of the published results are in `joyliao7777/LLaRA` (LastFM, Steam, MovieLens) and
    `xingyuHuxingyu/DynamicPO-Data` (LastFM, Goodreads, Steam; CC-BY-NC-4.0).

    Args:
        repo_id: `OWNER/NAME` on the hub.
        revision: The commit, 40 hexadecimal digits: a branch moves.
        files: Path in the repository of every file that is wanted, to its SHA-256.
        folder: Where the files go, archives as what is in them; `reader` points there.
        reader: What reads them.
        repo_type: What kind of repository it is.
    """

    def __init__(
        self,
        repo_id: str,
        revision: str,
        files: dict[str, str],
        folder: str,
        reader: Source,
        repo_type: Literal["dataset", "model"] = "dataset",
    ) -> None:
        require_text(repo_id=repo_id, folder=folder)
        if not files:
            raise ValueError("files={} must not be empty: name the files to fetch, each with its SHA-256")
        if not _COMMIT.fullmatch(revision):
            raise ValueError(
                f"revision={revision!r} must be a commit of 40 hexadecimal digits: a branch moves"
            )
        self.reader = reader
        self._repo_id = repo_id
        self._revision = revision
        self._files = files
        self._folder = Path(folder)
        self._repo_type = repo_type

    def prepare(self, cache_dir: Path) -> None:
        """Fetches what is not there, checks it and unpacks it.

        Raises:
            InputError: The hub cannot be reached, or a file is not what it should be.
        """
        for name, checksum in self._files.items():
            done = self._folder / f".{checksum}"
            if not done.is_file():
                _place(self._fetch(name), checksum, self._folder / PurePosixPath(name).name)
                done.touch()
        self.reader.prepare(cache_dir)

    def _fetch(self, name: str) -> Path:
        try:
            # Out of reach and refused are OSErrors; a name that cannot be one is a ValueError.
            return Path(
                hf_hub_download(self._repo_id, name, repo_type=self._repo_type, revision=self._revision)
            )
        except (OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise InputError(
                f"{self._repo_id}@{self._revision[:12]}/{name} cannot be fetched ({reason}): check name and network, "
                f"or fetch it elsewhere, put it into {self._folder} and use the reader alone"
            ) from error

    def settings(self, cache_dir: Path) -> SourceSettings:
        """What the reader says: its files' bytes say it all."""
        return self.reader.settings(cache_dir)

    def load(self, cache_dir: Path, rules: ExampleRules) -> Corpus:
        """Reads with the reader."""
        return self.reader.load(cache_dir, rules)


def _place(source: Path, checksum: str, target: Path) -> None:
    """Checks a file and copies it, or what it holds, beside the others."""
    found = sha256(source)
    if found != checksum.lower():
        raise InputError(
            f"{source.name} has SHA-256 {found}, not {checksum}: mend the checksum or fetch it again"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if zipfile.is_zipfile(source) or tarfile.is_tarfile(source):
        unpack(source, target.parent)
    else:
        shutil.copyfile(source, target)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip or tar archive; nothing is written unless all of it is safe.

    Args:
        archive: The archive.
        folder: Where its content goes.

    Raises:
        InputError: A member is a link or a device, would land outside of the folder, or the archive is broken.
    """
    try:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            _extract(archive, Path(temporary))
            shutil.copytree(temporary, folder, dirs_exist_ok=True)
    except _UNPACKING_ERRORS as error:
        reason = (str(error).splitlines() or [repr(error)])[0].rstrip(":")
        raise InputError(f"{archive.name} cannot be unpacked ({reason}): fetch it again") from error


def _extract(archive: Path, folder: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as content:
            for member in content.infolist():
                _require_safe(
                    archive, member.filename, link=(member.external_attr >> 16) & 0o170000 == 0o120000
                )
            content.extractall(folder)
        return
    with tarfile.open(archive) as bundle:
        for entry in bundle.getmembers():
            _require_safe(archive, entry.name, link=not (entry.isfile() or entry.isdir()))
        bundle.extractall(folder, filter="data")


def _require_safe(archive: Path, name: str, link: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if link:
        raise InputError(
            f"{archive.name} holds {name!r}, a link or device: unpack it by hand if you trust it"
        )
    if path.is_absolute() or ".." in path.parts:
        raise InputError(
            f"{archive.name} holds {name!r}, which lies outside of it: unpack it by hand if you trust it"
        )
