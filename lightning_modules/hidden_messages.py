"""Messages of Lightning and torch that would tell a user nothing here."""

import logging
import warnings


def hide_answered_advice() -> None:
    """Hide advice that this project has followed in its own way, and advertisements."""
    for message in (
        ".*does not have many workers.*",  # packing a batch takes 5 ms; `num_workers` is a setting
        ".*your dataloader is not resumable.*",  # the sampler goes on where the checkpoint stopped
        r".*module\(s\) in eval mode at the start of training.*",  # the frozen reference
        ".*isinstance.treespec, LeafSpec.*",
        ".*args parameter is intended to run from within Python.*",
        ".*Checkpoint directory .* exists and is not empty.*",  # a run's folder is its own
        ".*gradient_checkpointing.* is deprecated.*",  # asked by peft, not by us
    ):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        # `fit_summary` says why training ended.
        lambda record: (
            not record.getMessage().startswith(("💡 Tip:", "TPU available", "`Trainer.fit` stopped"))
        )
    )
