"""What stands in a run's folder."""

from pathlib import Path


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, by its name there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
