"""A look at what the model gets most wrong."""

from typing import Any

import lightning.pytorch as pl
import wandb

from callbacks.media import log_media, wandb_runs
from callbacks.ranks import of_all_ranks
from callbacks.window import StepCounter
from datamodules.checks import require_at_least

_COLUMNS = [
    "step", "history", "positive", "s_positive", "negative", "s_negative", "margin", "reward", "beta", "selected"
]  # fmt: skip
_LAST_TITLES = 3

# Margin of an example, and its rows.
_Example = tuple[float, list[list[Any]]]


class HardestExamples(pl.Callback):
    """Sends a table of a training batch's hardest examples, with titles, to W&B as `hardest_examples`.

    Hardest is where s_w − max s_i is smallest, over all ranks. One row per negative, likeliest first: the last three
    titles of the history, the positive and the negative with their log-probabilities s, the margin s_w − s_i, the
    negative's reward, its β, and whether it was selected. Other loggers get nothing, and nothing is computed for them.

    Args:
        every_n_steps: Steps between two tables; one waits for the device once.
        num_examples: Examples of a table.
        num_negatives: Negatives of an example, at most.

    Raises:
        ValueError: A setting is below 1.
    """

    def __init__(self, every_n_steps: int = 100, num_examples: int = 8, num_negatives: int = 3) -> None:
        require_at_least(
            1, every_n_steps=every_n_steps, num_examples=num_examples, num_negatives=num_negatives
        )
        self._every_n_steps = every_n_steps
        self._num_examples = num_examples
        self._num_negatives = num_negatives
        self._steps = StepCounter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts counting."""
        self._steps.start(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Makes a table of the batch that completes every N-th step."""
        due = self._steps.stepped(trainer) and trainer.global_step % self._every_n_steps == 0
        if not due or "compared" not in outputs or not wandb_runs(trainer):
            return
        own = self._hardest(outputs, batch, trainer.datamodule.store.titles, trainer.global_step)
        examples = sorted((pair for part in of_all_ranks(own) for pair in part), key=lambda pair: pair[0])
        rows = [row for _, of_one in examples[: self._num_examples] for row in of_one]
        log_media(trainer, {"hardest_examples": wandb.Table(columns=_COLUMNS, data=rows)})

    def _hardest(self, outputs: Any, batch: Any, titles: list[str], step: int) -> list[_Example]:
        """The hardest examples of this process's batch."""
        scores, mask = outputs["compared"], outputs["mask"]
        negatives = scores[:, 1:].masked_fill(~mask, float("-inf"))
        margins = scores[:, 0] - negatives.amax(dim=1)
        order = margins.argsort(stable=True)[: self._num_examples]
        facts = [margins, scores, outputs["rewards"], outputs["beta"], outputs["selected"], mask]
        chosen = [*facts, batch.items, batch.history]
        lists = (part[order].tolist() for part in chosen)
        return [(margin, self._rows(own, titles, step)) for margin, *own in zip(*lists, strict=True)]

    def _rows(self, own: list[Any], titles: list[str], step: int) -> list[list[Any]]:
        """One example's rows, its likeliest negatives first."""
        scores, rewards, beta, selected, mask, items, history = own
        seen = " → ".join(titles[item] for item in history[-_LAST_TITLES:] if item >= 0)
        there = [index for index, present in enumerate(mask) if present]
        there.sort(key=lambda index: -scores[1 + index])
        return [
            [
                step, seen, titles[items[0]], scores[0], titles[items[1 + index]], scores[1 + index],
                scores[0] - scores[1 + index], rewards[1 + index], beta[index], selected[index],
            ]
            for index in there[: self._num_negatives]
        ]  # fmt: skip
