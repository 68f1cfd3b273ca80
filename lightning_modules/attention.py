"""What packed rows may attend to, in the form that an attention implementation takes."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import PreTrainedConfig

from datamodules.packing import PackedBatch, dense_mask, may_attend

FLEX = "flex_attention"

Mask = TypeVar("Mask")


def by_layer(config: PreTrainedConfig, mask: Callable[[int | None], Mask]) -> Mask | dict[str, Mask]:
    """Builds what the layers of a model may attend to.

    Args:
        config: The model's. Where it has `layer_types`, layers differ and choose by their type; where it has only a
            `sliding_window`, every layer slides (as `transformers.masking_utils.create_masks_for_generate` reads it).
        mask: Builds the mask of a window; None is all of the past.

    Returns:
        One mask for all layers, or a mask per layer type.
    """
    config = config.get_text_config()
    window = getattr(config, "sliding_window", None)
    sliding = mask(window)
    if getattr(config, "layer_types", None) is None:
        return sliding
    return {"full_attention": sliding if window is None else mask(None), "sliding_attention": sliding}


def packed_mask(packed: PackedBatch, implementation: str, window: int | None = None) -> Tensor | BlockMask:
    """Builds the mask of packed rows.

    Args:
        packed: B rows of L tokens.
        implementation: Of the model's attention, by transformers' name. FlexAttention skips the blocks in which
            nothing may be attended to, which for 1 + K responses are most; it needs CUDA to be fast.
        window: Positions that a query sees at most, itself included.

    Returns:
        A block mask for FlexAttention; for all others True where a query may attend, shape [B, 1, L, L].
    """
    if implementation == FLEX:
        return block_mask(packed.position_ids, packed.segment_ids, window)
    return dense_mask(packed.position_ids, packed.segment_ids, window)


def block_mask(position_ids: Tensor, segment_ids: Tensor, window: int | None = None) -> BlockMask:
    """Builds FlexAttention's mask from the same rule as the dense one.

    Args:
        position_ids: Shape [B, L].
        segment_ids: Shape [B, L].
        window: Positions that a query sees at most, itself included.
    """

    def allowed(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        query_position, key_position = position_ids[row, query], position_ids[row, key]
        seen = may_attend(query_position, key_position, segment_ids[row, query], segment_ids[row, key])
        return seen if window is None else seen & (query_position - key_position < window)

    rows, length = position_ids.shape
    return create_block_mask(allowed, rows, None, length, length, device=position_ids.device)
