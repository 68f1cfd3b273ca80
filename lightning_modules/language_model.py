"""Language models as a config describes them, and the adapters on them."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from datamodules.checks import require_at_least, require_names, require_share
from datamodules.errors import InputError

POLICY, REFERENCE = "policy", "reference"

Identity = dict[str, Any]


class LanguageModel(ABC):
    """A recipe for a causal language model."""

    @abstractmethod
    def build(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
        """Makes the model for a tokenizer.

        Raises:
            InputError: The model cannot be loaded or does not fit the tokenizer.
        """

    @abstractmethod
    def identity(self) -> Identity:
        """Says in plain types what `build` makes; a checkpoint keeps it and is refused where it differs."""


class SmallLlama(LanguageModel):
    """A Llama with random weights, sized by the config; its vocabulary is the tokenizer's.

    Args:
        hidden_size: Width.
        num_hidden_layers: Depth.
        num_attention_heads: Query heads.
        num_key_value_heads: Key and value heads; None means as many as query heads.
        intermediate_size: Width of the feed-forward layer; None means four times the width.
        max_position_embeddings: Longest prompt with a response.
    """

    def __init__(
        self,
        hidden_size: int = 128,
        num_hidden_layers: int = 2,
        num_attention_heads: int = 4,
        num_key_value_heads: int | None = None,
        intermediate_size: int | None = None,
        max_position_embeddings: int = 512,
    ) -> None:
        require_at_least(
            1,
            hidden_size=hidden_size,
            num_hidden_layers=num_hidden_layers,
            num_attention_heads=num_attention_heads,
            num_key_value_heads=num_key_value_heads,
            intermediate_size=intermediate_size,
            max_position_embeddings=max_position_embeddings,
        )
        if hidden_size % (2 * num_attention_heads):
            raise ValueError(
                f"hidden_size={hidden_size} must be a multiple of twice num_attention_heads={num_attention_heads}: "
                "rotary positions turn pairs of a head's dimensions"
            )
        if num_attention_heads % (num_key_value_heads or 1):
            raise ValueError(
                f"num_key_value_heads={num_key_value_heads} must divide num_attention_heads={num_attention_heads}"
            )
        self._settings = {
            "hidden_size": hidden_size,
            "num_hidden_layers": num_hidden_layers,
            "num_attention_heads": num_attention_heads,
            "num_key_value_heads": num_key_value_heads or num_attention_heads,
            "intermediate_size": intermediate_size or 4 * hidden_size,
            "max_position_embeddings": max_position_embeddings,
        }

    def build(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
        """Draws weights from the global seed alone, whatever random numbers were used since it was set."""
        config = LlamaConfig(
            **self._settings,
            vocab_size=len(tokenizer),
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            attn_implementation="sdpa",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.initial_seed())
            return LlamaForCausalLM(config)

    def identity(self) -> Identity:
        """The class and its sizes."""
        return {"model": "SmallLlama", **self._settings}


@dataclass(frozen=True)
class LoRA:
    """Low-rank adapters (arXiv 2106.09685).

    Attributes:
        rank: r.
        alpha: Scale; the update is alpha / r · BA.
        dropout: In supervised training; preference training sets it to 0.
        target_modules: Names of the linear layers that are adapted.
    """

    rank: int = 8
    alpha: int = 32
    dropout: float = 0.1
    target_modules: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )

    def __post_init__(self) -> None:
        """Check the settings."""
        require_at_least(1, rank=self.rank, alpha=self.alpha)
        require_share(dropout=self.dropout)
        require_names(target_modules=self.target_modules)

    def apply(self, model: PreTrainedModel) -> PeftModel:
        """Adds the trained adapter to the decoder and freezes the base.

        Raises:
            InputError: The model lacks a layer that is to be adapted; PEFT would adapt the others and say nothing.
        """
        wanted = {name.rpartition(".")[2] for name in self.target_modules}
        layers = {name: part for name, part in model.named_modules() if not list(part.children())}
        if unknown := sorted(wanted - {name.rpartition(".")[2] for name in layers}):
            known = sorted({name.rpartition(".")[2] for name in layers})
            raise InputError(
                f"lora.target_modules names {', '.join(unknown)} and the model's layers are {', '.join(known)}"
            )
        config = self.config()
        # A model that also sees images has layers of the same names there, which text never reaches.
        text = {*model.get_decoder().modules(), model.get_output_embeddings()}
        unseen = [name for name, part in layers.items() if part not in text]
        config.exclude_modules = [name for name in unseen if name.rpartition(".")[2] in wanted] or None
        return get_peft_model(model, config, adapter_name=POLICY)

    def config(self) -> LoraConfig:
        """Says the same in PEFT's words."""
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(self.target_modules),
            task_type="CAUSAL_LM",
        )

    def identity(self) -> Identity:
        """Every setting but dropout, which changes no weight's shape or meaning."""
        settings = asdict(self)
        del settings["dropout"]
        return {f"lora_{key}": value for key, value in settings.items()}


def causal_lm(policy: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The causal language model inside, adapters in place."""
    return policy.get_base_model() if isinstance(policy, PeftModel) else policy
