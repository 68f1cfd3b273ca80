import numpy as np
import torch

from datamodules.packing import dense_mask, pack

PROMPTS = [np.array([1, 10, 11], np.int32), np.array([1, 12], np.int32)]
RESPONSES = [
    [np.array([20, 21, 2], np.int32), np.array([22, 2], np.int32)],
    [np.array([23, 24, 25, 2], np.int32)],
]


def test_rows_by_hand() -> None:
    """Row 0: prompt 1 10 11, response 20 21 (EOS is never an input), response 22. Row 1: 1 12, response 23 24 25.

    Positions of every response go on where its prompt ends. The sources of row 0 are the prompt's last position, 2, and
    the response tokens' positions 3, 4, 5; of row 1 (flat offset 6) the position 1 and 2, 3, 4.
    """
    packed = pack(PROMPTS, RESPONSES)
    assert packed.input_ids.tolist() == [[1, 10, 11, 20, 21, 22], [1, 12, 23, 24, 25, 0]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 3], [0, 1, 2, 3, 4, 0]]
    assert packed.segment_ids.tolist() == [[0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, -1]]
    assert packed.source.tolist() == [2, 3, 4, 5, 7, 8, 9, 10]
    read_off = packed.source[packed.source_of]
    assert read_off[0, 0, :3].tolist() == [2, 3, 4]
    assert read_off[0, 1, :2].tolist() == [2, 5]
    assert read_off[1, 0, :4].tolist() == [7, 8, 9, 10]
    assert packed.target[0, 0, :3].tolist() == [20, 21, 2]
    assert packed.lengths.tolist() == [[3, 2], [4, 0]]


def test_mask_by_hand() -> None:
    """A response sees its prompt and its own past; the prompt sees no response; padding sees padding alone."""
    mask = dense_mask(*(pack(PROMPTS, RESPONSES).__dict__[name] for name in ("position_ids", "segment_ids")))
    expected = [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 0, 0, 1],
    ]
    assert mask[0, 0].int().tolist() == expected
    assert mask[1, 0, 5].int().tolist() == [0, 0, 0, 0, 0, 1]
    assert mask[1, 0, :, 5].int().tolist() == [0, 0, 0, 0, 0, 1]
    assert mask.shape == (2, 1, 6, 6)


def test_history_tokens_by_hand() -> None:
    """Spans [1, 3) and [0, 2): the very first token has nothing before it to be read off."""
    history = pack(PROMPTS, RESPONSES, np.array([[1, 3], [0, 2]])).history
    assert history.target.tolist() == [10, 11, 12]
    assert history.source.tolist() == [0, 1, 6]
    assert history.row.tolist() == [0, 0, 1]
    assert len(pack(PROMPTS, RESPONSES).history.target) == 0


def test_a_prompt_without_responses_packs() -> None:
    packed = pack(PROMPTS, [[], RESPONSES[1]])
    assert packed.lengths.tolist() == [[0], [4]]
    assert torch.equal(packed.input_ids[0, :3], torch.tensor([1, 10, 11]))
