"""`python -m datamodules.audit PATH`: the leak audit of a data set.

The exit status is 0 where the data pass, 1 where they are condemned, 2 on bad input.
"""

import argparse
import sys
import time
from pathlib import Path

from datamodules.audit import audit, redrawn, reshuffled
from datamodules.audit_input import read_audit_data
from datamodules.errors import InputError
from datamodules.output_streams import outlive_readers

_COLUMNS = ("user", "item", "time", "title")


def main(args: list[str] | None = None) -> int:
    """Prints the report.

    Args:
        args: Arguments to parse; None takes the process's.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m datamodules.audit", description=__doc__)
    parser.add_argument(
        "path",
        type=Path,
        help="S-DPO JSON, preference JSONL, CSV, TSV, Parquet, a RecBole or examples-* folder",
    )
    parser.add_argument("--candidates", choices=("as_given", "reshuffled", "redrawn"), default="as_given")
    parser.add_argument("--seed", type=int, default=0, help="decides what is re-shuffled or re-drawn")
    parser.add_argument(
        "--skip-broken-rows", action="store_true", help="count them instead of refusing the file"
    )
    for name in _COLUMNS:
        parser.add_argument(f"--{name}", metavar="COLUMN", help=f"the column of a table with the {name}")
    settings = parser.parse_args(args)
    start = time.perf_counter()
    try:
        columns = {name: getattr(settings, name) for name in _COLUMNS}
        columns = {name: column for name, column in columns.items() if column is not None}
        data = read_audit_data(settings.path, settings.skip_broken_rows, columns)
        if settings.candidates == "reshuffled":
            data = reshuffled(data, settings.seed)
        elif settings.candidates == "redrawn":
            data = redrawn(data, settings.seed)
        report = audit(data)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    made = settings.candidates.replace("_", " ")
    print(f"{settings.path}, candidates {made}, {time.perf_counter() - start:.1f} s")
    print(report.text())
    return int(report.condemned)


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
