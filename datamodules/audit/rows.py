"""What the audit reads, whatever the format was."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

NONE = -1  # fills histories and lists that are shorter than the longest


@dataclass(frozen=True)
class AuditSplit:
    """The rows of one split, in the order of the file.

    Attributes:
        name: `train`, `val`, `test` or what the file is called.
        history: Items before the target, oldest first, right-aligned, shape [N, H].
        candidates: Items in the order of the list, left-aligned, shape [N, C].
        target: The item to predict, shape [N].
        time: Time of the target, shape [N]; None where the format has none.
        user: Index of the user, shape [N]; None where the format has none.
    """

    name: str
    history: NDArray[np.int32]
    candidates: NDArray[np.int32]
    target: NDArray[np.int32]
    time: NDArray[np.float64] | None = None
    user: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.target)

    def take(self, rows: NDArray[np.int64]) -> "AuditSplit":
        """Keeps some rows, in the order given."""
        return replace(
            self,
            history=self.history[rows],
            candidates=self.candidates[rows],
            target=self.target[rows],
            time=None if self.time is None else self.time[rows],
            user=None if self.user is None else self.user[rows],
        )

    @property
    def is_target(self) -> NDArray[np.bool_]:
        """Where the target stands in its list, shape [N, C]."""
        place: NDArray[np.bool_] = self.candidates == self.target[:, None]
        return place


@dataclass(frozen=True)
class AuditData:
    """A data set's splits, earlier ones first.

    Attributes:
        splits: What a model learns from comes before what it is judged on.
        titles: Title of every item.
        ordered: Whether the model sees the list's order; preference files only say which response is better.
        skipped: Broken rows that were left out.
        notes: What else reading them showed, a sentence each.
    """

    splits: tuple[AuditSplit, ...]
    titles: list[str]
    ordered: bool = True
    skipped: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """Rows that a rule learns from, and the later rows it is judged on."""

    learned: AuditSplit
    judged: AuditSplit


def stages(data: AuditData) -> list[Stage]:
    """Judges a split by what the splits before it teach; a lone split by what its own first half teaches."""
    splits = data.splits
    if len(splits) == 1:
        whole = splits[0]
        rows = np.arange(len(whole))
        first, second = whole.take(rows[: len(rows) // 2]), whole.take(rows[len(rows) // 2 :])
        return [
            Stage(
                replace(first, name=f"first half of {whole.name}"),
                replace(second, name=f"second half of {whole.name}"),
            )
        ]
    return [Stage(_joined(splits[:index]), splits[index]) for index in range(1, len(splits))]


def _joined(splits: tuple[AuditSplit, ...]) -> AuditSplit:
    """Stacks splits without their times and users, which no rule reads."""
    return AuditSplit(
        name=" + ".join(split.name for split in splits),
        history=_stacked([split.history for split in splits], right_aligned=True),
        candidates=_stacked([split.candidates for split in splits], right_aligned=False),
        target=np.concatenate([split.target for split in splits]),
    )


def _stacked(parts: list[NDArray[np.int32]], right_aligned: bool) -> NDArray[np.int32]:
    width = max(part.shape[1] for part in parts)
    widened = []
    for part in parts:
        missing = width - part.shape[1]
        pad = (missing, 0) if right_aligned else (0, missing)
        widened.append(np.pad(part, ((0, 0), pad), constant_values=NONE))
    return np.concatenate(widened)
