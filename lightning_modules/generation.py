"""Greedy generation from packed prompts: free, and constrained to the candidates."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from datamodules.packing import PROMPT, PackedBatch
from lightning_modules.scoring import hidden_states, vocabulary_logits


def left_padded_prompts(packed: PackedBatch) -> tuple[Tensor, Tensor]:
    """Takes the prompts out of packed rows, without their responses.

    Args:
        packed: B rows; a row begins with its prompt.

    Returns:
        Tokens, the padding on the left, and a mask that is 1 where there is a token; both of shape [B, longest prompt].
    """
    length = (packed.segment_ids == PROMPT).sum(dim=1)
    longest = int(length.max())
    column = torch.arange(longest, device=length.device) - (longest - length)[:, None]
    mask = column >= 0
    tokens = packed.input_ids.gather(1, column.clamp(min=0))
    return torch.where(mask, tokens, 0), mask.long()


@torch.no_grad()
def greedy_tokens(model: PreTrainedModel, packed: PackedBatch, eos: int, max_new_tokens: int) -> Tensor:
    """Answers every prompt with the most probable token at every step.

    Args:
        model: A causal language model.
        packed: B prompts; their responses play no part.
        eos: The token that ends an answer.
        max_new_tokens: Most tokens of an answer.

    Returns:
        Tokens of the answers, EOS included and repeated to the right, shape [B, at most max_new_tokens].
    """
    prompts, mask = left_padded_prompts(packed)
    with _own_generation_config(model, eos, max_new_tokens):
        # Padding is EOS: a tokenizer may have no other token for it, and what follows EOS is not read.
        written = model.generate(prompts, attention_mask=mask)
    answers: Tensor = written[:, prompts.shape[1] :]
    return answers


@contextmanager
def _own_generation_config(model: PreTrainedModel, eos: int, max_new_tokens: int) -> Iterator[None]:
    """Replaces a pretrained model's defaults: `generate` would mix its penalties and end tokens into ours."""
    before = model.generation_config
    model.generation_config = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, eos_token_id=eos, pad_token_id=eos
    )
    try:
        yield
    finally:
        model.generation_config = before


@torch.no_grad()
def constrained_choice(model: PreTrainedModel, packed: PackedBatch) -> Tensor:
    """Answers every prompt greedily along the trie of its candidates' tokens.

    At every step only tokens that continue some candidate are allowed, EOS where a candidate ends, so the answer is
    always a candidate. The packed forward has computed the state behind every prefix in the trie already, so nothing is
    generated again: a step projects one state per row, that of the prefix written so far.

    Args:
        model: A causal language model.
        packed: B prompts with C candidates each, every candidate ending in EOS; of equal candidates the first is taken.

    Returns:
        Columns of the candidates that are written, shape [B].
    """
    hidden = hidden_states(model, packed)
    rows = torch.arange(len(packed.target), device=hidden.device)
    reached = packed.token_mask[:, :, 0]
    for step in range(packed.target.shape[2]):
        open_ = reached & packed.token_mask[:, :, step]
        # Candidates that share the prefix share its state: any of them tells where it is.
        place = packed.source_of[rows, open_.int().argmax(dim=1), step]
        logits = vocabulary_logits(model, hidden[packed.source[place]])
        tokens = packed.target[:, :, step]
        allowed = torch.where(open_, logits.gather(1, tokens).float(), -torch.inf)
        written = tokens.gather(1, allowed.argmax(dim=1, keepdim=True))
        # Once EOS is written no candidate is open, and the one that ended there stays.
        going = open_.any(dim=1, keepdim=True)
        reached = torch.where(going, open_ & (tokens == written), reached)
    return reached.int().argmax(dim=1)
