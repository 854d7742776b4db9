"""Causal attention over packed sequences: each token sees its own sequence alone, and nothing is padded but attention.

On a GPU in half precision this is Flash Attention's variable-length kernel. Elsewhere sequences of similar length are
gathered into a rectangle for one causal `scaled_dot_product_attention` each: padding stands to the right, where the
causal mask hides it from every real token, and costs attention alone (a few per cent), never the matrix products.
A dense block mask instead would be quadratic in the tokens of the micro-batch.
"""

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

from areal_mesh.learner.batches.layout import PackedLayout, Rectangles

IMPLEMENTATION = "areal_packed"


def register() -> None:
    """Make `attn_implementation=IMPLEMENTATION` known to transformers; calling it again changes nothing."""
    AttentionInterface.register(IMPLEMENTATION, packed_attention)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed_layout: PackedLayout,
    scaling: float | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface. query [1, H, T, D]; key, value [1, G, T, D]; returns [1, T, H, D]."""
    if attention_mask is not None:
        raise ValueError("packed attention takes no mask: the layout says which tokens belong together")
    rows = (query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1))
    if packed_layout.boundaries is not None:
        output = _variable_length(*rows, packed_layout.boundaries, packed_layout.longest, scaling)
    else:
        assert packed_layout.rectangles is not None
        output = _by_rectangle(*rows, packed_layout.rectangles, scaling)
    return output.unsqueeze(0), None


def _variable_length(
    query: Tensor, key: Tensor, value: Tensor, boundaries: Tensor, longest: int, scaling: float | None
) -> Tensor:
    output = varlen_attn(
        query.contiguous(),
        key.contiguous(),
        value.contiguous(),
        boundaries,
        boundaries,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=key.shape[1] != query.shape[1],
    )
    assert isinstance(output, Tensor)
    return output


def _by_rectangle(query: Tensor, key: Tensor, value: Tensor, layout: Rectangles, scaling: float | None) -> Tensor:
    padded = [_pad(_full_precision(rows), layout) for rows in (query, key, value)]
    sizes = [count * width for count, width in layout.shapes]
    outputs = []
    for (count, width), *parts in zip(layout.shapes, *(torch.split(rows, sizes) for rows in padded), strict=True):
        query_part, key_part, value_part = (part.view(count, width, *part.shape[1:]).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(
            query_part, key_part, value_part, is_causal=True, scale=scaling, enable_gqa=key.shape[1] != query.shape[1]
        )
        outputs.append(attended.transpose(1, 2).flatten(0, 1))
    output = _unpad(torch.cat(outputs) if len(outputs) > 1 else outputs[0], layout)
    return output.to(query.dtype)


def _full_precision(rows: Tensor) -> Tensor:
    # The CPU kernel's backward pass in bfloat16 is three times as slow as in float32.
    return rows.float() if rows.device.type == "cpu" else rows


def _pad(rows: Tensor, layout: Rectangles) -> Tensor:
    result: Tensor = _Pad.apply(rows.contiguous(), layout.pad_index, layout.unpad_index)  # type: ignore[no-untyped-call]
    return result


def _unpad(slots: Tensor, layout: Rectangles) -> Tensor:
    result: Tensor = _Unpad.apply(slots, layout.unpad_index)  # type: ignore[no-untyped-call]
    return result


class _Pad(torch.autograd.Function):
    """Packed rows to slots. Gradients of padding slots are zero (nothing reads them), so that backward is a gather."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, pad_index: Tensor, unpad_index: Tensor) -> Tensor:
        ctx.save_for_backward(unpad_index)
        return rows.index_select(0, pad_index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (unpad_index,) = ctx.saved_tensors
        return gradients[0].index_select(0, unpad_index), None, None


class _Unpad(torch.autograd.Function):
    """Slots to packed rows; in backward padding slots get zeros, and no slot is added to twice."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, unpad_index: Tensor) -> Tensor:
        ctx.save_for_backward(unpad_index)
        ctx.slot_count = slots.shape[0]
        return slots.index_select(0, unpad_index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (unpad_index,) = ctx.saved_tensors
        result = gradients[0].new_zeros(ctx.slot_count, *gradients[0].shape[1:])
        return result.index_copy_(0, unpad_index, gradients[0]), None
