"""Beam search over a catalogue: the most probable titles, of which every one is an item."""

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from datamodules.title_trie import ROOT, TitleTrie
from lightning_modules.attention import by_layer
from lightning_modules.scoring import vocabulary_logits


@torch.no_grad()
def beam_search(
    model: PreTrainedModel, prompts: Tensor, mask: Tensor, trie: TitleTrie, beam: int
) -> tuple[Tensor, Tensor]:
    """Finds probable titles; all of them, and so the exact ranking, where the beam is as wide as the catalogue.

    A title's score is log π(title, EOS | prompt) over the whole vocabulary, the score that ranking gives it. It only
    falls as a title goes on, so finished titles compete with beginnings as they are.

    The prompt is computed once, and its keys and values are not copied for every beginning: all beginnings of a prompt
    stand in its row, and each attends to the prompt and to its own tokens, as in `datamodules.packing`.

    Args:
        model: A causal language model.
        prompts: Tokens, the padding on the left, shape [B, L].
        mask: 1 where there is a token, shape [B, L].
        trie: The catalogue.
        beam: Most beginnings that are kept.

    Returns:
        Items, best first and of equal ones the earlier in the catalogue, and their scores; both [B, min(beam, items)].
    """
    trie = trie.to(prompts.device)
    row = _PromptRow(model, prompts, mask)
    node, logits = torch.full_like(prompts[:, :1], ROOT), row.logits
    score = torch.zeros_like(logits[..., 0])
    while True:
        came_from, node, score = _grow(trie, node, score, logits, beam)
        if (trie.item[node] >= 0).all():
            return _ranked(trie.item[node], score)
        logits = row.feed(trie.token[node], came_from)


class _PromptRow:
    """A model that has read B prompts, and reads K beginnings of answers behind each, a token at a time.

    Args:
        model: A causal language model.
        prompts: Tokens, the padding on the left, shape [B, L].
        mask: 1 where there is a token, shape [B, L].

    Attributes:
        logits: Of the token after the prompt, in at least float32, shape [B, 1, vocabulary].
    """

    def __init__(self, model: PreTrainedModel, prompts: Tensor, mask: Tensor) -> None:
        self._model = model
        self._cache = DynamicCache()
        self._position = (mask.cumsum(dim=1) - 1).clamp(min=0)
        # Which columns of the row each beginning consists of, [B, K, columns].
        self._sees = mask.bool()[:, None]
        self.logits = vocabulary_logits(model, self._read(prompts, mask, self._position)[:, -1:])

    def _read(self, tokens: Tensor, mask: Tensor | dict[str, Tensor], position: Tensor) -> Tensor:
        """Returns hidden states."""
        output = self._model.get_decoder()(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=position,
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.last_hidden_state

    def feed(self, tokens: Tensor, came_from: Tensor) -> Tensor:
        """Reads the next token of every beginning.

        Args:
            tokens: Shape [B, K].
            came_from: Which of the beginnings before it each one continues, shape [B, K].

        Returns:
            Logits of the token after it, shape [B, K, vocabulary].
        """
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        itself = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
        self._sees = torch.cat([self._sees[rows, came_from], itself.expand(len(tokens), -1, -1)], dim=2)
        position = (self._position[:, -1:] + 1).expand_as(tokens)
        self._position = torch.cat([self._position, position], dim=1)
        distance = position[:, :, None] - self._position[:, None]

        def sees(window: int | None) -> Tensor:
            near = self._sees if window is None else self._sees & (distance < window)
            return near[:, None]

        return vocabulary_logits(
            self._model, self._read(tokens, by_layer(self._model.config, sees), position)
        )


def _grow(
    trie: TitleTrie, node: Tensor, score: Tensor, logits: Tensor, beam: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Continues every beginning by every token that leads on to a title, and keeps the best.

    Args:
        trie: The catalogue.
        node: Where beginnings end, or finished titles, which stay; shape [B, K].
        score: Their scores, -inf where there is none, shape [B, K].
        logits: Of the next token, shape [B, K, vocabulary].
        beam: Most that are kept.

    Returns:
        For each that is kept which one it continues, its node and its score; shape [B, at most beam].
    """
    finished = (trie.item[node] >= 0)[..., None]
    count = torch.where(finished, 1, trie.num_children[node][..., None])
    step = torch.arange(int(count.max()), device=node.device)
    child = torch.where(finished, node[..., None], trie.first_child[node][..., None] + step)
    exists = (step < count) & (score > -torch.inf)[..., None]
    child = torch.where(exists, child, node[..., None])
    gain = logits.gather(2, trie.token[child]) - logits.logsumexp(dim=2, keepdim=True)
    # A token of probability 0 makes a title improbable, not absent.
    new = (score[..., None] + torch.where(finished, 0.0, gain)).clamp(min=torch.finfo(score.dtype).min)
    new = torch.where(exists, new, -torch.inf).flatten(1)
    most = min(beam, int((new > -torch.inf).sum(dim=1).max()))
    # A stable sort, not `topk`: of equal scores the first is kept, everywhere and every time.
    kept = new.sort(dim=1, descending=True, stable=True).indices[:, :most]
    return kept // len(step), child.flatten(1).gather(1, kept), new.gather(1, kept)


def _ranked(item: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    by_item = item.argsort(dim=1)
    item, score = item.gather(1, by_item), score.gather(1, by_item)
    order = score.sort(dim=1, descending=True, stable=True).indices
    return item.gather(1, order), score.gather(1, order)
