"""Which checkpoint predictions came from, and whether it is still one of the run beside them."""

from pathlib import Path

import pyarrow.parquet as pq

from callbacks.parquet_file import CHECKPOINT, DIGEST, STEP
from lightning_modules.checkpoint_files import LAST, stored_digest

_BEST = "best.ckpt"


def foreign_checkpoint(predictions: Path, anywhere: bool) -> str | None:
    """Say of which other checkpoint predictions are, where the run in their folder has different ones.

    They are the run's if their digest is that of its `best.ckpt` or `last.ckpt`, or of the file in its `checkpoints/`
    that was given. Where nothing can be compared, since they name no checkpoint or the folder has none, they are taken.

    Args:
        predictions: A readable prediction file.
        anywhere: Whether they may be of a checkpoint that is kept elsewhere.

    Returns:
        What is wrong, or None.
    """
    noted = {
        key.decode(): value.decode() for key, value in (pq.read_schema(predictions).metadata or {}).items()
    }
    if DIGEST not in noted:
        return None
    given = Path(noted[CHECKPOINT])
    folder = predictions.parent / "checkpoints"
    found = {path: stored_digest(path) for path in (folder / _BEST, folder / LAST, folder / given.name)}
    kept = {path: digest for path, digest in found.items() if digest is not None}
    if not kept or noted[DIGEST] in kept.values() or (anywhere and stored_digest(given) == noted[DIGEST]):
        return None
    path, digest = next(iter(kept.items()))
    origin = (
        f"{given} at step {noted[STEP]} (sha256 {noted[DIGEST][:12]})"
        if noted[DIGEST]
        else "an untrained model"
    )
    return f"{predictions} is of {origin}, and {path} is another one (sha256 {digest[:12]})"
