"""Recommendations for users: over given candidates, or over a whole catalogue."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from lightning.fabric.utilities import move_data_to_device
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import tqdm

from datamodules.catalogue import NamedItems
from datamodules.errors import InputError
from datamodules.history_batches import HistoryBatch, HistoryCollate
from datamodules.history_files import UserHistories, parse_row
from datamodules.prompt_settings import PromptSettings
from datamodules.title_trie import TitleTrie
from lightning_modules.beam_search import beam_search
from lightning_modules.generation import left_padded_prompts
from lightning_modules.language_model import causal_lm
from lightning_modules.scoring import response_log_probs


class Recommendation(NamedTuple):
    """A title and its log π(title | prompt)."""

    title: str
    score: float


@torch.no_grad()
def best_items(
    model: PreTrainedModel, batch: HistoryBatch, trie: TitleTrie, most: int, beam: int
) -> tuple[Tensor, Tensor]:
    """Ranks the candidates of a batch where it has them, and searches the catalogue where it has none.

    Args:
        model: A causal language model.
        batch: B prompts.
        trie: The catalogue.
        most: Most items per prompt.
        beam: Titles that are followed at a time in a search, at least `most`.

    Returns:
        Items, best first, -1 where a prompt has fewer candidates, and their scores, there -inf; both [B, at most most].

    Raises:
        InputError: The model's context is shorter than a prompt with its answer.
    """
    _require_context(model, batch, trie)
    if batch.candidates.shape[1] == 0:
        items, scores = beam_search(model, *left_padded_prompts(batch.packed), trie, max(beam, most))
        return items[:, :most], scores[:, :most]
    scores = response_log_probs(model, batch.packed).masked_fill(batch.candidates < 0, -torch.inf)
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :most]
    return batch.candidates.gather(1, order), scores.gather(1, order)


def recommend(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    histories: Sequence[Sequence[str]],
    catalogue: Sequence[str],
    candidates: Sequence[Sequence[str]] | None = None,
    prompts: PromptSettings | None = None,
    num_recommendations: int = 10,
    beam: int = 20,
    batch_size: int = 16,
) -> list[list[Recommendation]]:
    """Recommends titles to users.

    Args:
        model: A causal language model, with or without adapters, as `transformers` or `peft` load it.
        tokenizer: Its tokenizer.
        histories: Titles that each user consumed, oldest first.
        catalogue: All titles.
        candidates: Titles to rank per user; None searches the catalogue.
        prompts: How the model was prompted in training, `PromptSettings.read(FOLDER)`; None takes the defaults.
        num_recommendations: Most titles per user.
        beam: Titles that are followed at a time in a search, at least `num_recommendations`; as many as the catalogue
            has is exact.
        batch_size: Users at a time.

    Returns:
        Per user titles and scores, best first.

    Raises:
        InputError: A history is empty, a title is not in the catalogue or stands there twice, or a prompt is too long.
    """
    items = NamedItems(catalogue)
    users = _users(items, histories, candidates)
    collate = HistoryCollate(tokenizer, items.titles, users, prompts or PromptSettings())
    collate.require_that_all_fit()
    trie = TitleTrie.of(collate.answers, items.titles)
    was_training = model.training
    model.eval()
    found: list[list[Recommendation]] = []
    try:
        for start in tqdm(range(0, len(users), batch_size), desc="recommending", unit="batch"):
            rows = list(range(start, min(start + batch_size, len(users))))
            batch = move_data_to_device(collate(rows), model.device)
            found += _titled(items, *best_items(causal_lm(model), batch, trie, num_recommendations, beam))
    finally:
        model.train(was_training)
    return found


def _users(
    items: NamedItems, histories: Sequence[Sequence[str]], candidates: Sequence[Sequence[str]] | None
) -> UserHistories:
    lists = [[]] * len(histories) if candidates is None else candidates
    parsed = []
    for number, (history, own) in enumerate(zip(histories, lists, strict=True)):
        try:
            parsed.append(parse_row({"user": number, "history": [*history], "candidates": [*own]}, items))
        except ValueError as error:
            raise InputError(f"user {number}: {error}: mend it or leave the user out") from error
    return UserHistories.of(parsed)


def _titled(items: NamedItems, best: Tensor, scores: Tensor) -> list[list[Recommendation]]:
    return [
        [Recommendation(items.titles[item], score) for item, score in zip(*row, strict=True) if item >= 0]
        for row in zip(best.tolist(), scores.tolist(), strict=True)
    ]


def _require_context(model: PreTrainedModel, batch: HistoryBatch, trie: TitleTrie) -> None:
    needed = int(batch.packed.position_ids.max()) + 1
    if batch.candidates.shape[1] == 0:
        needed += trie.depth - 1  # EOS is never read
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and needed > context:
        raise InputError(
            f"a prompt with its answer has {needed} tokens and the model's context holds {context}: lower max_length "
            "in prompts.json, or take a model with a longer context"
        )
