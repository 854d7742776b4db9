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

from areal_mesh.learner.batches.layout import Gathering, PackedLayout, Rectangles

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
    gathering = packed_layout.gathering
    if packed_layout.boundaries is not None:
        if gathering is not None:
            rows = (_lay_out(rows[0], gathering), _lay_out(rows[1], gathering), _lay_out(rows[2], gathering))
        output = _variable_length(*rows, packed_layout.boundaries, packed_layout.longest, scaling)
        output = output if gathering is None else _read_back(output, gathering)
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
    padded = [_lay_out(_full_precision(rows), layout.gathering) for rows in (query, key, value)]
    sizes = [count * width for count, width in layout.shapes]
    outputs = []
    for (count, width), *parts in zip(layout.shapes, *(torch.split(rows, sizes) for rows in padded), strict=True):
        query_part, key_part, value_part = (part.view(count, width, *part.shape[1:]).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(
            query_part, key_part, value_part, is_causal=True, scale=scaling, enable_gqa=key.shape[1] != query.shape[1]
        )
        outputs.append(attended.transpose(1, 2).flatten(0, 1))
    output = _read_back(torch.cat(outputs) if len(outputs) > 1 else outputs[0], layout.gathering)
    return output.to(query.dtype)


def _full_precision(rows: Tensor) -> Tensor:
    # The CPU kernel's backward pass in bfloat16 is three times as slow as in float32.
    return rows.float() if rows.device.type == "cpu" else rows


def _lay_out(rows: Tensor, by: Gathering) -> Tensor:
    result: Tensor = _LayOut.apply(rows.contiguous(), by.rows, by.slots, by.copies, by.copied)  # type: ignore[no-untyped-call]
    return result


def _read_back(slots: Tensor, by: Gathering) -> Tensor:
    result: Tensor = _ReadBack.apply(slots, by.slots)  # type: ignore[no-untyped-call]
    return result


class _LayOut(torch.autograd.Function):
    """Rows to slots. A row's gradient is that of its slot, and of the copies where sequences have it in common.

    That of padding slots is zero (nothing reads them), so that backward is a gather, and adds the copies alone.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, slots: Tensor, copies: Tensor, copied: Tensor) -> Tensor:
        ctx.save_for_backward(slots, copies, copied)
        return rows.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        slots, copies, copied = ctx.saved_tensors
        result = gradients[0].index_select(0, slots)
        if copies.numel():
            result.index_add_(0, copied, gradients[0].index_select(0, copies))
        return result, None, None, None, None


class _ReadBack(torch.autograd.Function):
    """Slots to rows; in backward slots that are not read get zeros, and no slot is added to twice."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.slot_count = slots.shape[0]
        return slots.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        result = gradients[0].new_zeros(ctx.slot_count, *gradients[0].shape[1:])
        return result.index_copy_(0, index, gradients[0]), None
