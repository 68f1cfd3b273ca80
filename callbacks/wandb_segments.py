"""What W&B has of a run, read from its files: `wandb/*-ID/run-ID.wandb`, one for each time the run was started."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from wandb.proto.wandb_internal_pb2 import Record

# LevelDB's log format: blocks of 32 KiB; in them chunks, each with checksum, length and kind. W&B puts seven bytes
# before the first. A record is one whole chunk, or a first one, any number of middle ones and a last one.
_BLOCK, _FILE_HEADER, _CHUNK_HEADER = 32 * 1024, 7, 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4

STEP = "trainer/global_step"


def logged_lines(folder: Path, run_id: str) -> list[dict[str, Any]]:
    """Every line that the starts of a run have logged, earlier starts first.

    Args:
        folder: The run's folder, in which `wandb/` stands.
        run_id: W&B's id of the run.
    """
    # A start's folder begins with offline-run-DATE_TIME or run-DATE_TIME.
    segments = sorted((folder / "wandb").glob(f"*run-*-{run_id}/run-{run_id}.wandb"), key=_date)
    return [line for segment in segments for line in _lines(segment)]


def _date(segment: Path) -> str:
    return segment.parent.name.removeprefix("offline-")


def _lines(segment: Path) -> Iterator[dict[str, Any]]:
    for content in _records(segment.read_bytes()):
        try:
            record = Record.FromString(content)
        except DecodeError:
            return
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            yield {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(content: bytes) -> Iterator[bytes]:
    """Yields whole records; the end of a file whose writer was killed may be torn."""
    position = _FILE_HEADER
    parts: list[bytes] = []
    while position + _CHUNK_HEADER <= len(content):
        if _BLOCK - position % _BLOCK < _CHUNK_HEADER:  # too little is left of the block: padding
            position += _BLOCK - position % _BLOCK
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        chunk = content[position + _CHUNK_HEADER : position + _CHUNK_HEADER + length]
        position += _CHUNK_HEADER + length
        if len(chunk) < length or kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST):
            return
        parts = [chunk] if kind in (_WHOLE, _FIRST) else [*parts, chunk]
        if kind in (_WHOLE, _LAST):
            yield b"".join(parts)
