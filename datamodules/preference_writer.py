"""From preferences to rows of tokens, and from rows to batches; the number of rejected responses may differ."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from datamodules.batches import Batch, Row
from datamodules.draws import Stream, uniforms
from datamodules.errors import InputError
from datamodules.packing import pack
from datamodules.preference_tokens import PreferenceEncoder
from datamodules.ragged import Ragged, list_array
from datamodules.sources.preferences import Preference
from datamodules.tokenization import distinct


class PreferenceWriter:
    """Turns preferences into rows of tokens: prompt and responses are tokenised apart, and EOS ends a response.

    Args:
        encoder: Encodes texts.
        max_length: Most tokens of a prompt with its longest response; a prompt loses its oldest tokens behind its head.
        skip: Leave out and count rows that cannot be used, where `table` would raise.

    Attributes:
        cut: Prompts that lost tokens.
        skipped: Rows left out.
        misplaced: Rows with a special token where there should be none, see `PreferenceEncoder.misplaced`.
        first_misplaced: The token, and where the first of these rows stands.
        rows: Rows written so far; the next one's number.
        responses: Responses written so far; the next one's number.
    """

    def __init__(self, encoder: PreferenceEncoder, max_length: int, skip: bool = False) -> None:
        self._encoder = encoder
        self._max_length = max_length
        self._skip = skip
        self.cut = 0
        self.skipped = 0
        self.misplaced = 0
        self.first_misplaced = ""
        self.rows = 0
        self.responses = 0

    def table(self, rows: Sequence[Preference]) -> tuple[pa.Table, NDArray[np.bool_]]:
        """Builds the Arrow table of some preferences.

        Columns: `id`, `user` (the row's number), `prompt`, `responses` (tokens of all of them, joined, the
        chosen one first), `lengths` (tokens of each), `first_item` (number of the chosen one; the others follow).

        Returns:
            The table, and which of its rows can be used; shape [N].

        Raises:
            InputError: A prompt is a conversation and there is no chat template; or, unless such rows are skipped, the
                longest response leaves no room for a prompt, or two responses are the same.
        """
        for row in rows:
            self._encoder.require_readable(row.prompt, row.place)
        self._count_misplaced(rows)
        counts = np.array([len(row.responses) for row in rows])
        begin = np.cumsum(counts) - counts
        endings, usable = self._endings(rows)
        responses, of_response = distinct(self._encoder.responses, endings)
        prompts, of_prompt = distinct(self._encoder.prompts, [row.prompt for row in rows])
        heads, bodies = zip(*prompts, strict=True)
        pieces = Ragged.of([*responses, *bodies, *heads, [self._encoder.eos]])
        of_prompt += len(responses)
        of_head = of_prompt + len(bodies)
        answers, lengths = pieces.joined(_pairs(of_response, -1))
        head = pieces.lengths[of_head]
        longest = np.maximum.reduceat(lengths, begin)
        usable &= self._fits(rows, head, longest)
        kept = np.clip(self._max_length - head - longest, 0, pieces.lengths[of_prompt])
        self.cut += int((pieces.lengths[of_prompt] > kept)[usable].sum())
        self.skipped += int((~usable).sum())
        prompt = pieces.joined(_pairs(of_head, of_prompt), np.stack([head, kept], axis=1))
        first = self.responses + begin
        self.responses += len(of_response)
        ids = np.array([row.id for row in rows], dtype=np.int64)
        table = pa.table(
            {
                "id": ids,
                "user": self.rows + np.arange(len(rows), dtype=np.int64),
                "prompt": list_array(*prompt),
                "responses": list_array(answers, np.add.reduceat(lengths, begin)),
                "lengths": list_array(lengths.astype(np.int32), counts),
                "first_item": first,
            }
        )
        self.rows += len(rows)
        return table, usable

    def _count_misplaced(self, rows: Sequence[Preference]) -> None:
        for row in rows:
            token = self._encoder.misplaced(row.prompt, row.responses)
            if token is not None:
                self.misplaced += 1
                self.first_misplaced = self.first_misplaced or f"{token!r} in {row.place}"

    def _endings(self, rows: Sequence[Preference]) -> tuple[list[str], NDArray[np.bool_]]:
        """Take off what ends responses already, and say in which rows they still differ; shape [N]."""
        usable = np.ones(len(rows), dtype=bool)
        if not self._encoder.parse:
            return [text for row in rows for text in row.responses], usable
        endings = [[self._encoder.ending(text) for text in row.responses] for row in rows]
        for number, (row, own) in enumerate(zip(rows, endings, strict=True)):
            if len(set(own)) < len(own):
                usable[number] = False
                self._refuse(
                    f"{row.place}: two responses differ in the EOS at their end alone: leave one of them out"
                )
        return [text for own in endings for text in own], usable

    def _fits(
        self, rows: Sequence[Preference], heads: NDArray[np.int64], longest: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Say in which rows the `longest` response [N] leaves room for the prompt; shape [N]."""
        fits = self._max_length - heads - longest >= self._encoder.fewest
        if not fits.all():
            worst = int(np.argmin(fits))
            template = " with its chat template" if self._encoder.chat else ""
            self._refuse(
                f"{rows[worst].place}: the longest response has {longest[worst]} tokens and the prompt needs at least "
                f"{heads[worst] + self._encoder.fewest}{template}; max_length is {self._max_length}, which leaves "
                "no room for the prompt: raise max_length, or leave the row out with skip_broken_rows: true"
            )
        return fits

    def _refuse(self, reason: str) -> None:
        if not self._skip:
            raise InputError(reason)


def _pairs(first: NDArray[np.int64] | int, second: NDArray[np.int64] | int) -> NDArray[np.int64]:
    return np.stack(np.broadcast_arrays(first, second), axis=1)


class PreferenceCollate:
    """Packs rows; a picklable callable for `DataLoader(collate_fn=...)`.

    Args:
        num_negatives: For training: most rejected responses per example, a fresh subset every epoch; None takes all.
        order_seed: With epoch and example id it decides that subset, and the draws.
        shuffle_seed: For ranking: with the example's id it decides the order of its responses; None is for training.
    """

    def __init__(self, num_negatives: int | None, order_seed: int, shuffle_seed: int | None = None) -> None:
        self._num_negatives = num_negatives
        self._order_seed = order_seed
        self._shuffle_seed = shuffle_seed

    def __call__(self, rows: list[tuple[int, Row]]) -> Batch:
        """Makes a batch of the rows of one epoch."""
        epoch = rows[0][0]
        columns = {name: [row[name] for _, row in rows] for name in rows[0][1]}
        ids = np.array(columns["id"], dtype=np.int64)
        orders = [
            self._order(int(id_), len(own), epoch) for id_, own in zip(ids, columns["lengths"], strict=True)
        ]
        width = max(map(len, orders))
        items = np.full((len(rows), width), -1, dtype=np.int64)
        responses = []
        for row, order in enumerate(orders):
            parts = np.split(columns["responses"][row], np.cumsum(columns["lengths"][row])[:-1])
            responses.append([parts[index] for index in order])
            items[row, : len(order)] = columns["first_item"][row] + order
        draws = uniforms(self._order_seed, Stream.SELECTION, ids, width - 1, epoch)
        return Batch(
            packed=pack(columns["prompt"], responses),
            id=torch.from_numpy(ids),
            user=torch.from_numpy(np.array(columns["user"], dtype=np.int64)),
            items=torch.from_numpy(items),
            positive=torch.tensor([int(np.argmin(order)) for order in orders]),
            draws=torch.from_numpy(draws).float(),
            history=torch.zeros((len(rows), 0), dtype=torch.long),
        )

    def _order(self, example: int, count: int, epoch: int) -> NDArray[np.int64]:
        """Chooses and orders the responses of an example; 0 is the chosen one."""
        if self._shuffle_seed is not None:
            return np.argsort(
                uniforms(self._shuffle_seed, Stream.CANDIDATE_ORDER, np.array([example]), count)[0]
            )
        keys = uniforms(self._order_seed, Stream.NEGATIVE_SUBSET, np.array([example]), count, epoch)[0]
        keys[0] = -1.0
        most = count if self._num_negatives is None else 1 + self._num_negatives
        return np.argsort(keys)[:most]
