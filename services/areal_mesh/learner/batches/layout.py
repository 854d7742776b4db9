"""Where the sequences of a packed row lie, in the form that the attention kernel of the device takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Sequences share a rectangle while the longest is at most this times the shortest: fewer kernel calls against padding;
# 1.1 to 2 measured alike, 10 slower (4-layer model, 40 to 120 tokens, one core).
BUCKET_RATIO = 1.3


@dataclass(frozen=True)
class Rectangles:
    """How to lay packed tokens out as rectangles and back."""

    shapes: tuple[tuple[int, int], ...]
    """(sequences, padded length) of each rectangle; padded tokens P = sum of the products."""
    pad_index: Tensor
    """int64 [P]: packed position in each slot; padding repeats the sequence's last token."""
    unpad_index: Tensor
    """int64 [T]: slot of each packed position."""


@dataclass(frozen=True)
class PackedLayout:
    """Where the sequences of a packed row of T tokens lie. Exactly one of the two forms is there."""

    boundaries: Tensor | None
    """int32 [n + 1]: cumulative lengths, for the variable-length kernel."""
    rectangles: Rectangles | None
    longest: int
    """Tokens of the longest sequence."""


def build_layout(lengths: Sequence[int], device: torch.device, dtype: torch.dtype) -> PackedLayout:
    """Layout of sequences of these lengths (each at least 1) for activations of `dtype` on `device`."""
    longest = max(lengths)
    if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        boundaries = torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0).to(device, torch.int32)
        return PackedLayout(boundaries, None, longest)
    return PackedLayout(None, _rectangles(lengths, device), longest)


def _rectangles(lengths: Sequence[int], device: torch.device) -> Rectangles:
    sizes = torch.tensor(lengths, dtype=torch.int64)
    starts = sizes.cumsum(0) - sizes
    shapes: list[tuple[int, int]] = []
    pad_index: list[Tensor] = []
    unpad_index = torch.empty(int(sizes.sum()), dtype=torch.int64)
    offset = 0
    for bucket in _buckets(lengths):
        width = lengths[bucket[0]]
        members = torch.tensor(bucket)
        columns = torch.arange(width)
        real = columns < sizes[members, None]
        packed = starts[members, None] + torch.minimum(columns, sizes[members, None] - 1)
        slots = offset + torch.arange(packed.numel()).view_as(packed)
        unpad_index[packed[real]] = slots[real]
        pad_index.append(packed.flatten())
        shapes.append((len(bucket), width))
        offset += packed.numel()
    return Rectangles(tuple(shapes), torch.cat(pad_index).to(device), unpad_index.to(device))


def _buckets(lengths: Sequence[int]) -> list[list[int]]:
    buckets: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if buckets and lengths[buckets[-1][0]] <= BUCKET_RATIO * lengths[index]:
            buckets[-1].append(index)
        else:
            buckets.append([index])
    return buckets
