"""Generated data sets of which every leak is known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from datamodules.audit import AuditData, AuditSplit

ITEMS, CANDIDATES, HISTORY = 300, 10, 5
SIZES = {"train": 1500, "val": 400, "test": 800}


def clean(
    seed: int,
    skew: float = 1.0,
    negative_skew: float = 0.0,
    sizes: dict[str, int] = SIZES,
    items: int = ITEMS,
) -> AuditData:
    """Draws targets by popularity and everything else independently of them.

    Args:
        seed: Decides everything.
        skew: Exponent of the targets' popularity: item i is drawn in proportion to (i + 1)^−skew.
        negative_skew: The same for negatives.
        sizes: Rows of every split.
        items: Size of the catalogue.
    """
    rng = np.random.default_rng(seed)
    rows = sum(sizes.values())
    weights = np.arange(1, items + 1) ** -skew
    target = rng.choice(items, size=rows, p=weights / weights.sum()).astype(np.int32)
    # Gumbel keys: the largest are a draw without replacement in proportion to the weights.
    keys = rng.gumbel(size=(rows, items)) - negative_skew * np.log(np.arange(1, items + 1))
    keys[np.arange(rows), target] = -np.inf
    drawn = np.argsort(-keys, axis=1).astype(np.int32)
    history = rng.permuted(drawn[:, CANDIDATES - 1 :][:, : items // 2], axis=1)[:, :HISTORY]
    candidates = rng.permuted(np.column_stack([target, drawn[:, : CANDIDATES - 1]]), axis=1)
    whole = AuditSplit("all", history, candidates, target, time=np.arange(rows, dtype=np.float64))
    ends = np.cumsum(list(sizes.values()))
    splits = tuple(
        replace(whole.take(np.arange(end - size, end)), name=name)
        for (name, size), end in zip(sizes.items(), ends, strict=True)
    )
    return AuditData(splits, [f"title {item}" for item in range(items)])


def _changed(data: AuditData, change: Callable[[AuditSplit], AuditSplit]) -> AuditData:
    return replace(data, splits=tuple(change(split) for split in data.splits))


def placed_by_target(data: AuditData, share: float = 1.0, seed: int = 0) -> AuditData:
    """Puts the targets of a share of the rows at a place that hangs on the target alone."""
    rng = np.random.default_rng(seed)

    def change(split: AuditSplit) -> AuditSplit:
        rows = np.flatnonzero(rng.random(len(split)) < share)
        candidates = split.candidates.copy()
        place = np.argmax(split.is_target, axis=1)[rows]
        wanted = split.target[rows] * 7 % CANDIDATES
        candidates[rows, place] = candidates[rows, wanted]
        candidates[rows, wanted] = split.target[rows]
        return replace(split, candidates=candidates)

    return _changed(data, change)


def drawn_by_target(data: AuditData, shared: int, seed: int = 0) -> AuditData:
    """Gives rows of one target `shared` negatives in common; order and histories are drawn anew."""
    rng = np.random.default_rng(seed)
    keys = rng.random((ITEMS, ITEMS))
    np.fill_diagonal(keys, 1.0)
    common = np.argsort(keys, axis=1)[:, :shared].astype(np.int32)

    def change(split: AuditSplit) -> AuditSplit:
        wanted = np.column_stack([split.target, common[split.target], split.candidates])
        repeated = np.array(
            [[item in row[:place] for place, item in enumerate(row)] for row in wanted.tolist()]
        )
        first = np.argsort(repeated, axis=1, kind="stable")[:, :CANDIDATES]
        candidates = rng.permuted(np.take_along_axis(wanted, first, axis=1), axis=1)
        keys = rng.random((len(split), ITEMS))
        np.put_along_axis(keys, candidates, 1.0, axis=1)
        history = np.argsort(keys, axis=1)[:, :HISTORY].astype(np.int32)
        return replace(split, candidates=candidates, history=history)

    return _changed(data, change)


def leaky(data: AuditData) -> AuditData:
    """What the published files do: negatives and places both hang on the target."""
    return placed_by_target(drawn_by_target(data, CANDIDATES - 1))


def faulty(data: AuditData, fault: str, rows: int) -> AuditData:
    """Puts one kind of fault into the first rows of the last split (`late`: of the first)."""
    *before, last = data.splits
    part: NDArray[np.int64] = np.arange(rows)
    if fault == "missing":
        candidates = last.candidates.copy()
        # No item of the catalogue is ITEMS.
        candidates[part, np.argmax(last.is_target, axis=1)[part]] = ITEMS
        last = replace(last, candidates=candidates)
        data = replace(data, titles=[*data.titles, "none of these"])
    elif fault == "history":
        history = last.history.copy()
        negative = np.argmax(~last.is_target, axis=1)[part]
        history[part, -1] = last.candidates[part, negative]
        last = replace(last, history=history)
    elif fault == "repeated":
        history, target, candidates = last.history.copy(), last.target.copy(), last.candidates.copy()
        for column, source in zip(
            (history, target, candidates),
            (before[0].history, before[0].target, before[0].candidates),
            strict=True,
        ):
            column[part] = source[part]
        # Another order, and the negatives of another row: only the pair is the same.
        candidates[part] = np.random.default_rng(0).permuted(candidates[part], axis=1)
        last = replace(last, history=history, target=target, candidates=candidates)
    elif fault == "late":
        assert before[0].time is not None
        assert last.time is not None
        time = before[0].time.copy()
        time[part] = last.time[-1]
        before[0] = replace(before[0], time=time)
    return replace(data, splits=(*before, last))
