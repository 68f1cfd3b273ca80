"""The model card beside exported weights: what was trained, on what, how well, and how it is asked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData

from datamodules.prompt_settings import PromptSettings

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")

_LICENCE = (
    "The software that trained these weights is under the MIT licence. The weights themselves are bound by the licence "
    "of the base model{base} and by the terms of the data: read both before you publish or use them."
)


@dataclass(frozen=True)
class CardFacts:
    """What a model card says.

    Attributes:
        name: Name of the run.
        base: Hub name or folder of the base model; None where the model was built from scratch.
        is_adapter: Whether the weights are an adapter to the base.
        step: Optimiser steps that the weights have seen.
        metrics: Validation metrics of these weights.
        report: What was read and built of the data.
        prompts: How the model is asked; None outside recommendation.
        settings: `model` and `data` of the run's config, in plain types.
    """

    name: str
    base: str | None
    is_adapter: bool
    step: int
    metrics: Mapping[str, float]
    report: Mapping[str, int | str]
    prompts: PromptSettings | None
    settings: Mapping[str, Any]


def model_card(facts: CardFacts) -> ModelCard:
    """Writes the card, with the front matter that a model hub reads."""
    text = "\n\n".join(f"{heading}\n\n{body}" if heading else body for heading, body in _sections(facts))
    return ModelCard(f"---\n{_front_matter(facts).to_yaml()}\n---\n\n{text}\n")


def _front_matter(facts: CardFacts) -> ModelCardData:
    # A hub refuses a base that is no hub name; the text names a local folder.
    is_hub_name = facts.base is not None and _HUB_NAME.fullmatch(facts.base) is not None
    return ModelCardData(
        base_model=facts.base if is_hub_name else None,
        library_name="peft" if facts.is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["recommendation", "dynamicpo", *(["lora"] if facts.is_adapter else [])],
    )


def _sections(facts: CardFacts) -> list[tuple[str, str]]:
    base = f"`{facts.base}`" if facts.base else "a model built from scratch"
    what = f"A LoRA adapter for {base}" if facts.is_adapter else f"All weights of {base}"
    sections = [
        (f"# {facts.name}", f"{what}, trained for {facts.step} steps to name the next item."),
        ("## Use", _use(facts.is_adapter)),
        ("## Metrics", _table("validation metric", {k: f"{v:.4f}" for k, v in facts.metrics.items()})),
        ("## Data", _table("of the data", {k: str(v) for k, v in facts.report.items() if v != ""})),
    ]
    model = facts.settings.get("model", {})
    objective = model.get("init_args", {}).get("objective")
    trained = {"objective": objective} if objective else {"module": model.get("class_path", "unknown")}
    sections.append(("## Objective", _yaml(trained)))
    if facts.prompts is not None:
        templates = "\n\n".join(f"```\n{template}\n```" for template in facts.prompts.templates)
        sections.append(
            ("## Prompts", f"One of these; every title stands on a line of its own.\n\n{templates}")
        )
    sections.append(("## Settings", _yaml(facts.settings)))
    sections.append(("## Licence", _LICENCE.format(base=f", {base}," if facts.base else "")))
    return sections


def _use(is_adapter: bool) -> str:
    package, name = (
        ("peft", "AutoPeftModelForCausalLM") if is_adapter else ("transformers", "AutoModelForCausalLM")
    )
    return (
        f"```python\nfrom {package} import {name}\n\nmodel = {name}.from_pretrained(FOLDER)\n```\n\n"
        "Prompt and titles are tokenised piece by piece; `lightning_modules.recommend` does it as in training."
    )


def _table(heading: str, rows: Mapping[str, str]) -> str:
    if not rows:
        return "None were recorded."
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join([f"| {heading} | |", "|---|---|", *lines])


def _yaml(tree: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True).strip()
    return f"```yaml\n{text}\n```"
