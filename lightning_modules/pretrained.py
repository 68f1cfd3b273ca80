"""Pretrained language models: from a hub, a folder or a GGUF file, in full or quantised."""

from importlib.util import find_spec
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from datamodules.checks import require_text
from datamodules.errors import InputError
from datamodules.pretrained import cannot_load, location
from lightning_modules.attention import FLEX
from lightning_modules.language_model import Identity, LanguageModel
from lightning_modules.prefix_check import require_shared_prefix


class PretrainedLM(LanguageModel):
    """A pretrained causal language model.

    Args:
        name: Hub name, local folder, or a GGUF file in either (`owner/model/file.gguf`), whose weights are unpacked.
        revision: Commit or tag on the hub.
        dtype: Type of the loaded weights, and of the computation in quantised layers.
        quantization: `nf4` for 4 bits (arXiv 2305.14314) or `int8` (arXiv 2208.07339) a weight, through bitsandbytes;
            such weights stay frozen, so LoRA has to be trained. None keeps them as they are.
        flex_attention: Whether attention skips the blocks in which a packed row has nothing to attend to. For CUDA,
            where it was not measured; elsewhere it is slow.
    """

    def __init__(
        self,
        name: str,
        revision: str | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        quantization: Literal["nf4", "int8"] | None = None,
        flex_attention: bool = False,
    ) -> None:
        require_text(name=name, revision=revision)
        self.name = name
        self.revision = revision
        self.dtype = dtype
        self.quantization = quantization
        self.flex_attention = flex_attention

    def build(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
        """Loads the weights and checks that sharing a prompt is exact for them."""
        self._require_bitsandbytes()
        try:
            model, loaded = AutoModelForCausalLM.from_pretrained(
                **location(self.name),
                **self._quantisation(),
                # None lets transformers choose: SDPA where it can, which takes the packed mask.
                attn_implementation=FLEX if self.flex_attention else None,
                revision=self.revision,
                dtype=getattr(torch, self.dtype),
                output_loading_info=True,
            )
        except Exception as error:  # readers of many formats raise whatever they meet
            raise cannot_load("language model", self.name, "config.json", error) from error
        self._require_whole(model, tokenizer, sorted(loaded["missing_keys"]))
        _keep_gradients(model)
        require_shared_prefix(model, self.name)
        return model

    def _require_bitsandbytes(self) -> None:
        if self.quantization is not None and find_spec("bitsandbytes") is None:
            raise InputError(
                f"quantization={self.quantization} needs the package bitsandbytes, which is the extra `quantised`: "
                "pip install 'bitsandbytes>=0.50', or leave quantization out"
            )

    def _quantisation(self) -> dict[str, Any]:
        if self.quantization is None:
            return {}
        if self.quantization == "int8":
            return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
        four_bits = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=getattr(torch, self.dtype),
        )
        return {"quantization_config": four_bits}

    def _require_whole(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, missing: list[str]
    ) -> None:
        """Refuses weights that `from_pretrained` drew at random, and a tokenizer that knows more tokens."""
        if missing:
            raise InputError(
                f"the weights at {self.name!r} are not all of its config.json's: {len(missing)} are missing, the first "
                f"is {missing[0]}: give the whole model"
            )
        known = model.get_input_embeddings().num_embeddings
        if len(tokenizer) > known:
            raise InputError(
                f"the tokenizer has {len(tokenizer)} tokens and {self.name!r} only {known}: set data.tokenizer to the "
                "model's own"
            )

    def identity(self) -> Identity:
        """Name, revision, type of the weights and quantisation."""
        return {
            "model": self.name,
            "revision": self.revision,
            "dtype": self.dtype,
            "quantization": self.quantization,
        }


def _keep_gradients(model: PreTrainedModel) -> None:
    """Turns off a CPU layout of bitsandbytes that the first forward in evaluation mode would convert weights to.

    They would stay in it, and no gradient passes through it: training would go on without a word, and wrong.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
