"""Log-probabilities of packed responses; only positions that are read reach the vocabulary projection."""

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from datamodules.packing import PackedBatch
from lightning_modules.attention import by_layer, packed_mask

# A quarter of a gigabyte in float32: 1,365 rows of SmolLM2's vocabulary, 523 of Llama 3's.
_MOST_LOGITS = 1 << 26


def hidden_states(model: PreTrainedModel, packed: PackedBatch) -> Tensor:
    """Runs the decoder without the vocabulary projection.

    Args:
        model: A causal language model.
        packed: B rows of L tokens.

    Returns:
        Final hidden states, shape [B · L, hidden].
    """
    implementation = model.config.get_text_config()._attn_implementation
    output = model.get_decoder()(
        input_ids=packed.input_ids,
        attention_mask=by_layer(model.config, partial(packed_mask, packed, implementation)),
        position_ids=packed.position_ids,
        use_cache=False,
    )
    return output.last_hidden_state.flatten(0, 1)


def vocabulary_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Projects hidden states as the model's own forward does, soft cap included (Gemma, arXiv 2408.00118).

    Args:
        model: A causal language model.
        hidden: Final hidden states, shape [..., hidden].

    Returns:
        Logits in at least float32, shape [..., vocabulary].
    """
    logits: Tensor = model.get_output_embeddings()(hidden)
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    return logits.float() if logits.dtype.itemsize < 4 else logits


def token_log_probs(
    model: PreTrainedModel, hidden: Tensor, source: Tensor, source_of: Tensor, target: Tensor
) -> Tensor:
    """Computes log π(token | everything before it) for chosen tokens.

    Args:
        model: A causal language model.
        hidden: Hidden states, shape [N, hidden].
        source: Rows of `hidden` that tokens are read off, shape [U].
        source_of: Index into `source` per token, any shape.
        target: The tokens, same shape as `source_of`.

    Returns:
        Log-probabilities in at least float32, same shape as `target`.
    """
    step = max(1, _MOST_LOGITS // model.get_output_embeddings().out_features)
    if len(source) <= step:
        return _read_off(model, hidden[source], source_of, target)
    found = hidden.new_zeros(target.shape, dtype=torch.promote_types(hidden.dtype, torch.float32))
    for begin in range(0, len(source), step):
        rows = hidden[source[begin : begin + step]]
        here = (source_of >= begin) & (source_of < begin + len(rows))
        inside = torch.where(here, source_of - begin, 0)
        # Logits are computed again in the backward pass, so that those of one part are in memory at a time.
        values = checkpoint(_read_off, model, rows, inside, target, use_reentrant=False)
        found = torch.where(here, values, found)
    return found


def _read_off(model: PreTrainedModel, rows: Tensor, source_of: Tensor, target: Tensor) -> Tensor:
    logits = vocabulary_logits(model, rows)
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
    tokens = token_log_probs(model, hidden, packed.source, packed.source_of, packed.target)
    return torch.where(packed.token_mask, tokens, 0.0).sum(dim=-1)
