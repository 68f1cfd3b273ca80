"""TRL's `DPOTrainer` on our batch: one negative per prompt, our tokens, its collator, reference and loss."""

import copy
import tempfile

import datasets
import torch
from torch import nn
from trl import DPOConfig, DPOTrainer

from benchmarks.usual import split_rows
from benchmarks.ways import Outcome, Step
from benchmarks.workload import Workload, move_away


def build(workload: Workload) -> Step:
    """Builds the trainer; with LoRA its reference is the base with adapters off, without it a second model."""
    data = workload.data_module()
    base = workload.base(data)
    trainer = DPOTrainer(
        model=base,
        ref_model=None if workload.lora else copy.deepcopy(base),
        args=_settings(),
        # It insists on a data set; the batch below does not come from it.
        train_dataset=datasets.Dataset.from_dict({"prompt": ["a"], "chosen": [" b"], "rejected": [" c"]}),
        processing_class=data.tokenizer,
        peft_config=workload.lora.config() if workload.lora else None,
    )
    policy = trainer.model.train()
    _copy_trained(workload.policy(data), policy)  # the trainer seeds its adapters in its own way
    move_away(policy)
    examples = [
        {"prompt_ids": prompt.tolist(), "chosen_ids": own[0].tolist(), "rejected_ids": own[1].tolist()}
        for prompt, own in split_rows(workload.batch(data).packed)
    ]
    inputs = trainer.data_collator(examples)
    return Step(lambda: Outcome(trainer.compute_loss(policy, inputs)), policy, inputs["input_ids"].numel())


@torch.no_grad()
def _copy_trained(source: nn.Module, target: nn.Module) -> None:
    """Copies the weights that are trained; the adapters have other names but the same order."""
    pairs = zip(source.parameters(), target.parameters(), strict=True)
    for given, taken in pairs:
        if taken.requires_grad:
            taken.copy_(given)


def _settings() -> DPOConfig:
    """What is measured elsewhere too: float32, all activations kept, β 1."""
    return DPOConfig(
        output_dir=tempfile.mkdtemp(),
        beta=1.0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        max_length=None,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
    )
