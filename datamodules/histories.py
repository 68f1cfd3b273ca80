"""The LightningDataModule for recommending: users' histories in, prompts out."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.utils.data import DataLoader

from datamodules.catalogue import read_items
from datamodules.checks import require_at_least, require_text
from datamodules.data_record import DataRecord, DataSettings
from datamodules.errors import InputError
from datamodules.history_batches import HistoryCollate
from datamodules.history_files import read_histories
from datamodules.prompt_settings import PromptSettings
from datamodules.sources.broken import BrokenRows
from datamodules.sources.delimited import require_delimiter
from datamodules.sources.table_chunks import TextFormat
from datamodules.title_trie import TitleTrie
from datamodules.tokenization import load_tokenizer, tokenizer_fingerprint


class HistoryDataModule(pl.LightningDataModule):
    """Prompts for recommending, with `train.py predict`; without targets, so that nothing is trained or tested on it.

    Args:
        histories: JSON (lines or an array) or Parquet with `user`, `history` (items, oldest first) and, in all rows
            or in none, `candidates`. Without candidates the whole catalogue is searched, and the prompt's list of
            choices is empty.
        catalogue: A table with a row per item: text, Parquet or JSON. Items of one title are one item, as in training.
        trained: A folder that `callbacks.AdapterExport` wrote: its tokenizer, and how the model was prompted.
        item_field: The catalogue's column by which histories name items; it may be the title's.
        title_field: The catalogue's column with the title.
        delimiter: What separates the fields of a text file, one character; backslash and t are a tab.
        quotes: Whether double quotes enclose fields of a text file, as in CSV; None: unless the delimiter is a tab.
        num_recommendations: Most items per user.
        beam: Titles that are followed at a time in a search of the catalogue, at least `num_recommendations`; as many
            as there are items is exact.
        batch_size: Users per device and step.
        num_workers: Processes that write prompts; 0 writes them in the main process.
        skip_broken_rows: Skip and count rows that cannot be used instead of refusing a file.
    """

    def __init__(
        self,
        histories: str,
        catalogue: str,
        trained: str,
        item_field: str = "item_id",
        title_field: str = "title",
        delimiter: str = ",",
        quotes: bool | None = None,
        num_recommendations: int = 10,
        beam: int = 20,
        batch_size: int = 16,
        num_workers: int = 0,
        skip_broken_rows: bool = False,
    ) -> None:
        super().__init__()
        require_at_least(1, num_recommendations=num_recommendations, beam=beam, batch_size=batch_size)
        require_at_least(0, num_workers=num_workers)
        require_text(
            histories=histories,
            catalogue=catalogue,
            trained=trained,
            item_field=item_field,
            title_field=title_field,
        )
        self.num_recommendations = num_recommendations
        self.beam = beam
        self._paths = (Path(histories), Path(catalogue), Path(trained))
        self._fields = (item_field, title_field, TextFormat(require_delimiter(delimiter), quotes))
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._skip = skip_broken_rows
        self._collate: HistoryCollate | None = None

    def setup(self, stage: str) -> None:
        """Reads the files.

        Raises:
            InputError: One cannot be used, or a prompt does not fit; or something else than a prediction is asked for.
        """
        if stage != "predict":
            raise InputError(
                f"histories have no targets to {TrainerFn(stage).value} on: use predict, or data with targets as "
                "datamodules.RecommendationDataModule has"
            )
        if self._collate is not None:
            return
        histories, catalogue, trained = self._paths
        self._prompts = prompts = PromptSettings.read(trained)
        self.tokenizer = load_tokenizer(str(trained))
        self.items = read_items(catalogue, *self._fields, self._skip)
        broken = BrokenRows(histories, self._skip)
        self.histories = read_histories(broken, self.items)
        if broken.count:
            rank_zero_info(f"skipped {broken.count} rows of {histories} that cannot be used")
        self._collate = HistoryCollate(self.tokenizer, self.items.titles, self.histories, prompts)
        self._collate.require_that_all_fit()
        self.trie = TitleTrie.of(self._collate.answers, self.items.titles)

    @property
    def record(self) -> DataRecord:
        """What `trained` says of the data that the model was trained on."""
        tokens = (len(self.tokenizer), tokenizer_fingerprint(self.tokenizer))
        return DataRecord(DataSettings({}, self._prompts.named(), {}, {}, {}), {"tokens": tokens})

    def predict_dataloader(self) -> DataLoader[Any]:
        """Loads every user once over all ranks."""
        trainer = self.trainer
        rank, world_size = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        rows = range(len(self.histories))
        return DataLoader(
            rows,  # type: ignore[arg-type] # a row is its own number
            sampler=rows[rank::world_size],
            batch_size=self._batch_size,
            collate_fn=self._collate,
            num_workers=self._num_workers,
        )
