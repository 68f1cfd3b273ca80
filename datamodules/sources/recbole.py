"""RecBole's atomic files: tab-separated `NAME.inter` and `NAME.item`, the type of each field in the header.

Some forty public data sets are published in this format (https://recbole.io/dataset_list.html).
"""

from collections.abc import Iterator
from pathlib import Path

from datamodules.checks import require_text
from datamodules.errors import InputError
from datamodules.filters import InteractionFilter
from datamodules.interactions import Interactions
from datamodules.sources.base import InteractionSource, sha256
from datamodules.sources.broken import BrokenRows
from datamodules.sources.chunks import Chunk, require_fields
from datamodules.sources.delimited import DelimitedText, require_separated
from datamodules.sources.log_builder import ITEM, RATING, TIME, TITLE, USER, read_catalogue, read_log
from datamodules.sources.opened import require_file


class RecBoleSource(InteractionSource):
    """A folder that holds `NAME.inter` and `NAME.item`.

    Args:
        path: The folder; NAME is the folder's own name unless `name` is given.
        title_field: The field of `NAME.item` with the title.
        name: The stem of both files.
        user_field: The field of `NAME.inter` with the user's id.
        item_field: The field of both files with the item's id.
        time_field: The field of `NAME.inter` with the time.
        rating_field: The field of `NAME.inter` with the rating, for a filter; None reads none.
        filters: Applied to the log in their order.
        skip_broken_rows: Skip and count rows that cannot be used instead of refusing the file.
    """

    def __init__(
        self,
        path: str,
        title_field: str = "title",
        name: str | None = None,
        user_field: str = "user_id",
        item_field: str = "item_id",
        time_field: str = "timestamp",
        rating_field: str | None = None,
        filters: list[InteractionFilter] | None = None,
        skip_broken_rows: bool = False,
    ) -> None:
        super().__init__(filters)
        require_text(
            path=path,
            title_field=title_field,
            name=name,
            user_field=user_field,
            item_field=item_field,
            time_field=time_field,
            rating_field=rating_field,
        )
        self.path = Path(path)
        self.name = name or self.path.absolute().name
        self._item_fields = {ITEM: item_field, TITLE: title_field}
        self._inter_fields = {USER: user_field, ITEM: item_field, TIME: time_field}
        if rating_field is not None:
            self._inter_fields[RATING] = rating_field
        self._skip = skip_broken_rows

    def __str__(self) -> str:
        return str(self._files()[0])

    def _files(self) -> tuple[Path, Path]:
        return self.path / f"{self.name}.inter", self.path / f"{self.name}.item"

    def _require_files(self) -> None:
        if self.path.is_file():
            raise InputError(f"{self.path} is a file: give the folder that holds NAME.inter and NAME.item")
        if not self.path.is_dir():
            raise InputError(f"{self.path} is missing: give the folder that holds NAME.inter and NAME.item")
        inter = self._files()[0]
        others = sorted(path.stem for path in self.path.glob("*.inter"))
        if others and not inter.exists():
            raise InputError(f"{inter} is missing and {others[0]}.inter is there: set name to {others[0]}")
        if not others:
            raise InputError(f"{inter} is missing: give the folder that holds NAME.inter and NAME.item")

    def content(self, cache_dir: Path) -> str:
        """Hashes both files and the fields read from them."""
        self._require_files()
        fields = [*self._inter_fields.values(), *self._item_fields.values(), str(self._skip)]
        return ":".join([sha256(*map(require_file, self._files())), *fields])

    def read(self, cache_dir: Path) -> Interactions:
        """Reads both files and joins them on the item's id.

        Raises:
            InputError: A file or a field is missing, or a row is broken.
        """
        inter, item = (BrokenRows(path, self._skip) for path in self._files())
        catalogue = read_catalogue(_atomic(item, self._item_fields), item)
        return read_log(_atomic(inter, self._inter_fields), catalogue, inter, item)


def field_names(path: Path) -> list[str]:
    """Reads the names of an atomic file's fields, without their types.

    Raises:
        InputError: The file is missing.
    """
    return [name.split(":")[0] for name in _text(path).header()]


def _text(path: Path) -> DelimitedText:
    return DelimitedText(path, delimiter="\t", quoted=False)


def _atomic(broken: BrokenRows, fields: dict[str, str]) -> Iterator[Chunk]:
    """Streams fields of an atomic file, in which quotes and commas are ordinary characters."""
    text = _text(broken.path)
    require_separated(broken.path, text.header(), (), "\t", "rewrite it with tabs")
    names = field_names(broken.path)
    require_fields(broken.path, fields.values(), names)
    typed = dict(zip(names, text.header(), strict=True))
    return text.chunks({name: typed[field] for name, field in fields.items()}, broken)
