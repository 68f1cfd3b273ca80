"""Whether a model can share a prompt among responses: tried, not looked up in a list of names."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from datamodules.errors import InputError
from datamodules.packing import pack
from lightning_modules.scoring import response_log_probs

_PROMPT_TOKENS, _RESPONSE_TOKENS = 6, (9, 3)


def require_shared_prefix(model: PreTrainedModel, name: str) -> None:
    """Compares the packed log-probabilities of two random responses with those of the model's own forward.

    They differ where state runs through the row (recurrent models), where distance is counted in columns (ALiBi), and
    where the model's own forward does to logits what `vocabulary_logits` does not know.

    Args:
        model: A causal language model in evaluation mode.
        name: What the message calls it.

    Raises:
        InputError: They differ by more than rounding.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().num_embeddings
    prompt, *responses = (
        torch.randint(vocabulary, (length,), generator=generator, dtype=torch.int32)
        for length in (_PROMPT_TOKENS, *_RESPONSE_TOKENS)
    )
    try:
        with torch.no_grad():
            difference = _difference(model, prompt, responses)
    except Exception as error:  # a model that knows no such mask raises whatever it meets first
        reason = next(iter(str(error).strip().splitlines()), "") or repr(error)
        raise _refused(model, name, reason) from error
    if not difference <= _tolerance(model):
        raise _refused(model, name, f"log-probabilities differ by {difference:.2g}")


def _difference(model: PreTrainedModel, prompt: Tensor, responses: list[Tensor]) -> float:
    packed = pack([prompt.numpy()], [[response.numpy() for response in responses]])
    for name, value in vars(packed).items():
        if isinstance(value, Tensor):
            setattr(packed, name, value.to(model.device))
    plain = torch.stack([_plain_log_prob(model, prompt, response) for response in responses])
    return float((response_log_probs(model, packed)[0] - plain).abs().max())


def _plain_log_prob(model: PreTrainedModel, prompt: Tensor, response: Tensor) -> Tensor:
    tokens = torch.cat([prompt, response]).long().to(model.device)
    logits = model(input_ids=tokens[None], use_cache=False).logits[0, len(prompt) - 1 : -1]
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    return logits.log_softmax(-1).gather(1, tokens[len(prompt) :, None]).sum()


def _tolerance(model: PreTrainedModel) -> float:
    """A few roundings of a sum of some log-probabilities; 8-bit layers round what comes in, as bfloat16 does."""
    whole = all(weight.is_floating_point() for weight in model.parameters())
    return 4 * float(torch.finfo(model.dtype if whole else torch.bfloat16).eps) ** 0.5


def _refused(model: PreTrainedModel, name: str, reason: str) -> InputError:
    return InputError(
        f"{name!r} ({model.config.model_type}) cannot score many responses behind one prompt ({reason}): use a decoder "
        "whose attention takes a mask and positions, such as Llama, Mistral, Qwen or Gemma"
    )
