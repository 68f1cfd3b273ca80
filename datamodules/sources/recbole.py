"""RecBole's atomic files: tab-separated `NAME.inter` and `NAME.item`, the type of each field in the header.

Some forty public data sets are published in this format (https://recbole.io/dataset_list.html).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from datamodules.errors import InputError
from datamodules.interactions import Interactions, merge_titles
from datamodules.sources.base import Source, sha256


class RecBoleSource(Source):
    """A folder that holds `NAME.inter` and `NAME.item`.

    Args:
        path: The folder; NAME is the folder's own name unless `name` is given.
        title_field: The field of `NAME.item` with the title.
        name: The stem of both files.
        user_field: The field of `NAME.inter` with the user's id.
        item_field: The field of both files with the item's id.
        time_field: The field of `NAME.inter` with the time.
    """

    def __init__(
        self,
        path: str,
        title_field: str = "title",
        name: str | None = None,
        user_field: str = "user_id",
        item_field: str = "item_id",
        time_field: str = "timestamp",
    ) -> None:
        self.path = Path(path)
        self.name = name or self.path.name
        self.title_field = title_field
        self.user_field = user_field
        self.item_field = item_field
        self.time_field = time_field

    def _files(self) -> tuple[Path, Path]:
        return self.path / f"{self.name}.inter", self.path / f"{self.name}.item"

    def fingerprint(self, cache_dir: Path) -> str:
        """Hashes both files and the fields read from them."""
        fields = [self.user_field, self.item_field, self.time_field, self.title_field]
        return ":".join([sha256(*map(_existing, self._files())), *fields])

    def read(self, cache_dir: Path) -> Interactions:
        """Reads both files and joins them on the item's id.

        Raises:
            InputError: A file, a field or an item is missing, or a time is not a number.
        """
        inter_file, item_file = self._files()
        inter = _read_atomic(inter_file, [self.user_field, self.item_field, self.time_field])
        items = _read_atomic(item_file, [self.item_field, self.title_field])
        titles, title_of_row = merge_titles(items[self.title_field].to_pylist())
        row = pc.index_in(inter[self.item_field], items[self.item_field].combine_chunks())
        if row.null_count:
            line = row.is_null().to_pylist().index(True)
            item = inter[self.item_field][line].as_py()
            raise InputError(
                f"{inter_file}, line {line + 2}: item {item!r} is not in {item_file.name}: add it there"
            )
        users = inter[self.user_field].combine_chunks().dictionary_encode()
        merged = items.num_rows - len(titles)
        return Interactions(
            user=users.indices.to_numpy().astype(np.int32),
            item=title_of_row[row.to_numpy()],
            time=_numbers(inter[self.time_field], inter_file),
            users=users.dictionary.to_pylist(),
            titles=titles,
            notes=(f"merged {merged} items into others of the same title",) if merged else (),
        )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is missing: point the source at a folder with RecBole's atomic files")
    return path


def _read_atomic(path: Path, fields: list[str]) -> pa.Table:
    """Reads the named fields as strings; quotes and commas are ordinary characters in this format."""
    parse = csv.ParseOptions(delimiter="\t", quote_char=False, escape_char=False)
    with _existing(path).open("rb") as file:
        header = file.readline().decode("utf-8", errors="replace").rstrip("\r\n").split("\t")
    columns = {name.split(":")[0]: name for name in header}
    if absent := [field for field in fields if field not in columns]:
        raise InputError(
            f"{path}: no field {absent[0]!r} among {sorted(columns)}: name the right one in the config"
        )
    convert = csv.ConvertOptions(
        include_columns=[columns[field] for field in fields],
        column_types={columns[field]: pa.string() for field in fields},
        strings_can_be_null=False,
    )
    try:
        table = csv.read_csv(path, parse_options=parse, convert_options=convert)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}: restore the file") from error
    if table.num_rows == 0:
        raise InputError(f"{path}: no rows under the header: restore the file")
    return table.rename_columns(fields)


def _numbers(column: pa.ChunkedArray, path: Path) -> np.ndarray:
    try:
        return pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        for line, value in enumerate(column.to_pylist(), start=2):
            try:
                float(value)
            except ValueError:
                raise InputError(
                    f"{path}, line {line}: time {value!r} is not a number: mend the row"
                ) from None
        raise
