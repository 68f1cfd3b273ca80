"""Log-probabilities of packed responses; only positions that are read reach the vocabulary projection."""

import torch
from torch import Tensor
from torch.nn import Module
from transformers import PreTrainedModel

from datamodules.packing import PackedBatch, dense_mask


def hidden_states(model: PreTrainedModel, packed: PackedBatch) -> Tensor:
    """Runs the decoder without the vocabulary projection.

    Args:
        model: A causal language model.
        packed: B rows of L tokens.

    Returns:
        Final hidden states, shape [B · L, hidden].
    """
    output = model.get_decoder()(
        input_ids=packed.input_ids,
        attention_mask=dense_mask(packed.position_ids, packed.segment_ids),
        position_ids=packed.position_ids,
        use_cache=False,
    )
    return output.last_hidden_state.flatten(0, 1)


def token_log_probs(
    head: Module, hidden: Tensor, source: Tensor, source_of: Tensor, target: Tensor
) -> Tensor:
    """Computes log π(token | everything before it) for chosen tokens.

    Args:
        head: The vocabulary projection.
        hidden: Hidden states, shape [N, hidden].
        source: Rows of `hidden` that tokens are read off, shape [U].
        source_of: Index into `source` per token, any shape.
        target: The tokens, same shape as `source_of`.

    Returns:
        Log-probabilities in at least float32, same shape as `target`.
    """
    logits = head(hidden[source])
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    return logits[source_of, target] - logits.logsumexp(dim=-1)[source_of]


def response_log_probs(model: PreTrainedModel, packed: PackedBatch) -> Tensor:
    """Sums the token log-probabilities of every response, EOS included (s_j of arXiv 2605.00327).

    Args:
        model: A causal language model.
        packed: B prompts with R responses each.

    Returns:
        log π(y | x), 0 where there is no response, shape [B, R].
    """
    hidden = hidden_states(model, packed)
    head = model.get_output_embeddings()
    tokens = token_log_probs(head, hidden, packed.source, packed.source_of, packed.target)
    return torch.where(packed.token_mask, tokens, 0.0).sum(dim=-1)
