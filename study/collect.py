"""All finished runs in some folders."""

from pathlib import Path

from datamodules.errors import InputError
from study.runs import Run, read_run, run_folders
from study.store import RUNS, load


def collect(places: list[Path]) -> tuple[list[Run], list[str]]:
    """Reads all runs.

    Args:
        places: Folders with runs somewhere beneath, or results of `study.store`.

    Returns:
        The runs, and a line for every folder that is no finished run.

    Raises:
        InputError: A place is no folder, or there is no finished run in any.
    """
    runs: list[Run] = []
    skipped: list[str] = []
    for place in places:
        if not place.is_dir():
            raise InputError(f"{place} is no folder: give folders of runs, as outputs/quickstart")
        if (place / RUNS).is_file():
            runs += load(place)
            continue
        for folder in run_folders(place):
            try:
                runs.append(_comparable(read_run(folder, run_name(place, folder))))
            except InputError as error:
                skipped.append(str(error))
    if not runs:
        reasons = f" ({'; '.join(skipped)})" if skipped else ""
        named = ", ".join(map(str, places))
        raise InputError(f"no finished run in {named}{reasons}: train one first, as with make quickstart")
    return runs, skipped


def _comparable(run: Run) -> Run:
    if run.ranks is not None and len(set(run.ranks.users.tolist())) < 2:
        raise InputError(f"{run.name}: predictions of one user: an interval takes two")
    return run


def run_name(place: Path, folder: Path) -> str:
    """A run's folder from the last part of the place on, whatever the working directory."""
    return (Path(place.resolve().name) / folder.relative_to(place)).as_posix()
