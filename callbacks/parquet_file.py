"""A Parquet file of a model's results, whole or not there, that names the checkpoint of the model."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lightning_modules.checkpoint_files import stored_digest

# Keys of the schema's metadata: the path as it was given, its SHA-256 and its step; all empty for a model that was
# not loaded from a checkpoint.
CHECKPOINT, DIGEST, STEP = "checkpoint", "checkpoint_sha256", "checkpoint_step"


class ResultWriter(pl.Callback):
    """Notes which checkpoint a model was loaded from."""

    def __init__(self) -> None:
        self._step: int | None = None

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remembers the step."""
        self._step = checkpoint["global_step"]

    def write(self, table: pa.Table, path: Path, trainer: pl.Trainer) -> None:
        """Write results beside their place and rename, with the checkpoint in the schema's metadata."""
        given = trainer.ckpt_path
        origin = {
            CHECKPOINT: str(given or ""),
            DIGEST: (stored_digest(Path(given)) or "") if given else "",
            STEP: "" if self._step is None else str(self._step),
        }
        write_parquet(table.replace_schema_metadata({**(table.schema.metadata or {}), **origin}), path)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes beside the place and renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary)
    temporary.rename(path)
