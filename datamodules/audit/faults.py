"""What is wrong with single rows: no statistics, only counts.

A target that does not stand once in its list, and a row later than its split allows, come about by mistake
alone: one such row condemns. Two users do share a short history now and then, and a negative is now and then
drawn from the history; such a fault condemns where it touches more than `SHARE` of the rows. No rule gains
more HR@1 from a fault than the share of rows that have it, and smaller differences tell no methods apart.
A target that is consumed again is counted and never condemns: in some domains that is what people do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.audit.rows import NONE, AuditData, AuditSplit
from datamodules.draws import mix

SHARE = 0.005
_CHUNK = 8192


@dataclass(frozen=True)
class Fault:
    """A count of faulty rows.

    Attributes:
        name: What is wrong with them.
        count: Faulty rows.
        rows: Rows that were looked at.
        allowed: Largest share of faulty rows that passes.
        example: Split and row, from 1, of the first.
    """

    name: str
    count: int
    rows: int
    allowed: float
    example: str = ""

    @property
    def condemned(self) -> bool:
        """Whether there are too many."""
        return self.count > self.allowed * self.rows


def find_faults(data: AuditData) -> list[Fault]:
    """Runs every check that the data allow: lateness needs times."""
    return [
        missing_targets(data),
        history_among_candidates(data),
        targets_in_history(data),
        repeated_examples(data),
        *late_rows(data),
    ]


def missing_targets(data: AuditData) -> Fault:
    """Counts rows whose target is not in its list exactly once."""
    masks = {split.name: split.is_target.sum(axis=1) != 1 for split in data.splits}
    return _fault("target absent from its list, or in it twice", masks, 0.0)


def targets_in_history(data: AuditData) -> Fault:
    """Count rows whose target, and no negative, stands in the row's history: to repeat is to be right there."""
    masks = {
        split.name: (split.history == split.target[:, None]).any(axis=1) & ~_holds_history(split)
        for split in data.splits
    }
    return _fault("target in its history, where no negative is (does not condemn)", masks, 1.0)


def history_among_candidates(data: AuditData) -> Fault:
    """Counts rows with a negative from the row's own history; a target may well be consumed again."""
    masks = {split.name: _holds_history(split) for split in data.splits}
    return _fault("history item among the negatives", masks, SHARE)


def _holds_history(split: AuditSplit) -> NDArray[np.bool_]:
    found = np.zeros(len(split), dtype=bool)
    for start in range(0, len(split), _CHUNK):
        part = slice(start, start + _CHUNK)
        lists = np.where(split.is_target[part], np.int32(NONE), split.candidates[part])
        for column in split.history[part].T:
            found[part] |= ((lists == column[:, None]) & (column != NONE)[:, None]).any(axis=1)
    return found


def repeated_examples(data: AuditData) -> Fault:
    """Counts rows whose history and target an earlier split holds too; rows without history are left out."""
    keys = [_example_keys(split) for split in data.splits]
    masks = {}
    for index in range(1, len(keys)):
        split = data.splits[index]
        has_history = (split.history != NONE).any(axis=1)
        masks[split.name] = np.isin(keys[index], np.concatenate(keys[:index])) & has_history
    return _fault("history and target also in an earlier split", masks, SHARE)


def _example_keys(split: AuditSplit) -> NDArray[np.uint64]:
    """Hashes (history, target) into 64 bits, shape [N]; padding adds nothing, so widths need not agree."""
    key = mix(split.target.astype(np.uint64) + np.uint64(1))
    for column in split.history.T:
        stepped = mix(key + np.uint64(0x9E3779B97F4A7C15) * (column.astype(np.int64) + 2).astype(np.uint64))
        key = np.where(column == NONE, key, stepped)
    return key


def late_rows(data: AuditData) -> list[Fault]:
    """Counts rows that are later than the first row of a later split.

    Returns:
        One fault, or none where a split has no times or there is only one split.
    """
    times = [split.time for split in data.splits if split.time is not None and len(split)]
    if len(times) < len(data.splits) or len(times) < 2:
        return []
    masks = {}
    for index, split in enumerate(data.splits[:-1]):
        first_later = min(float(time.min()) for time in times[index + 1 :])
        masks[split.name] = times[index] > first_later
    return [_fault("later than the first row of a later split", masks, 0.0)]


def _fault(name: str, masks: dict[str, NDArray[np.bool_]], allowed: float) -> Fault:
    example = next((f"{split} row {np.argmax(mask) + 1}" for split, mask in masks.items() if mask.any()), "")
    count, rows = sum(int(mask.sum()) for mask in masks.values()), sum(map(len, masks.values()))
    return Fault(name, count, rows, allowed, example)
