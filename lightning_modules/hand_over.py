"""Trained weights in the folders that plain `peft` and `transformers` load."""

import copy
from collections.abc import Mapping
from pathlib import Path

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from datamodules.errors import InputError
from lightning_modules.language_model import POLICY, LanguageModel, causal_lm
from lightning_modules.pretrained import PretrainedLM

State = Mapping[str, Tensor]


def base_of(policy: PreTrainedModel | PeftModel) -> str | None:
    """Names the model that was loaded: a hub name, or the absolute path of a local folder; None where none was."""
    name = causal_lm(policy).name_or_path
    if not name:
        return None
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def write_adapter(policy: PeftModel, state: State, base: str, revision: str | None, folder: Path) -> None:
    """Writes `adapter_model.safetensors` and `adapter_config.json` in PEFT's own layout.

    Args:
        policy: A model with the adapter `policy`; its settings are read, not its weights.
        state: Weights of the adapter, named as in `policy.state_dict()`.
        base: Hub name or folder of the model that is adapted.
        revision: Its commit or tag on the hub.
        folder: An empty folder.
    """
    weights = get_peft_model_state_dict(
        policy, state_dict=dict(state), adapter_name=POLICY, save_embedding_layers=False
    )
    save_file(
        {name: value.contiguous() for name, value in weights.items()},
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    config = copy.copy(policy.peft_config[POLICY])
    config.base_model_name_or_path = base
    config.revision = revision
    config.inference_mode = True
    config.save_pretrained(folder)


def write_base(policy: PeftModel, folder: Path) -> None:
    """Writes the frozen model under the adapters, for a base that exists nowhere else."""
    copy.deepcopy(policy).unload().save_pretrained(folder)


def write_model(policy: PreTrainedModel | PeftModel, state: State, folder: Path) -> None:
    """Writes a whole model in safetensors; an adapter is merged into its base.

    Args:
        policy: The model, which stays as it is: a copy is given the weights.
        state: Trained weights, named as in `policy.state_dict()`.
        folder: An empty folder.
    """
    model = copy.deepcopy(policy)
    if isinstance(model, PeftModel):
        weights = get_peft_model_state_dict(
            model, state_dict=dict(state), adapter_name=POLICY, save_embedding_layers=False
        )
        set_peft_model_state_dict(model, weights, adapter_name=POLICY)
        _untie(causal_lm(model))
        model = model.merge_and_unload(adapter_names=[POLICY])
    else:
        model.load_state_dict(state, strict=False)
    model.save_pretrained(folder)


def _untie(model: PreTrainedModel) -> None:
    """Splits a weight that embeddings and vocabulary projection share, where an adapter changes one of them.

    Merged into the shared weight, the change of one would change the other.
    """
    embeddings, projection = model.get_input_embeddings(), model.get_output_embeddings()
    if not any(isinstance(layer, BaseTunerLayer) for layer in (embeddings, projection)):
        return
    embeddings, projection = (getattr(layer, "base_layer", layer) for layer in (embeddings, projection))
    if projection.weight is embeddings.weight:
        projection.weight = nn.Parameter(embeddings.weight.detach().clone(), requires_grad=False)
        for config in (model.config, model.config.get_text_config()):
            config.tie_word_embeddings = False


def require_portable(
    language_model: LanguageModel, policy: PreTrainedModel | PeftModel, merged: bool
) -> None:
    """Refuses what others could not load, or would not load as it was trained.

    Args:
        language_model: What was built or loaded.
        policy: The model itself.
        merged: Whether an adapter is to be merged into its base.

    Raises:
        InputError: The base is a GGUF file, which an adapter's settings cannot name; or it is quantised, and merging
            would round the adapter away.
    """
    if isinstance(language_model, PretrainedLM) and language_model.name.endswith(".gguf"):
        raise InputError(
            f"an adapter on {language_model.name!r} cannot be handed over, since peft loads no GGUF base: save it "
            "unpacked with save_pretrained and give that folder, or leave AdapterExport out"
        )
    if merged and getattr(causal_lm(policy), "is_quantized", False):
        raise InputError(
            "a merged model is asked for and the base is quantised, which would round the adapter away: export the "
            "adapter alone (merged: false) and merge it into the unquantised base"
        )
