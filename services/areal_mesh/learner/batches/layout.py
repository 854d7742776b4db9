"""Where the sequences of a packed row lie, in the form that the attention kernel of the device takes.

Sequences may have rows in common: responses to one prompt share its tokens, which everything but attention then goes
over once. Attention sees each sequence whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.learner.batches.sharing import Sharing

# Sequences share a rectangle while the longest is at most this times the shortest: fewer kernel calls against padding;
# 1.1 to 2 measured alike, 10 slower (4-layer model, 40 to 120 tokens, one core).
BUCKET_RATIO = 1.3


@dataclass(frozen=True)
class Gathering:
    """How T packed rows are laid out in P slots and read back."""

    rows: Tensor
    """int64 [P]: the row in each slot."""
    slots: Tensor
    """int64 [T]: the slot that each row is read back from."""
    copies: Tensor
    """int64 [C]: further slots of rows that several sequences have in common; padding is none of them."""
    copied: Tensor
    """int64 [C]: the rows in those."""

    def to(self, device: torch.device) -> "Gathering":
        """The same on `device`."""
        return Gathering(*(index.to(device) for index in (self.rows, self.slots, self.copies, self.copied)))


@dataclass(frozen=True)
class Rectangles:
    """Sequences of similar length, each group of them padded to its longest."""

    shapes: tuple[tuple[int, int], ...]
    """(sequences, padded length) of each rectangle; slots P = sum of the products."""
    gathering: Gathering
    """Padding repeats a sequence's last row."""


@dataclass(frozen=True)
class PackedLayout:
    """Where the sequences of a packed row of T tokens lie. Exactly one of boundaries and rectangles is there."""

    boundaries: Tensor | None
    """int32 [n + 1]: cumulative lengths of the sequences, for the variable-length kernel."""
    gathering: Gathering | None
    """With boundaries: the sequences end to end, where they have rows in common; None where they lie so already."""
    rectangles: Rectangles | None
    longest: int
    """Tokens of the longest sequence."""


def build_layout(
    lengths: Sequence[int], device: torch.device, dtype: torch.dtype, sharing: Sharing | None = None
) -> PackedLayout:
    """Layout of sequences of these lengths (each at least 1) for activations of `dtype` on `device`.

    sharing: the rows that sequences have in common; None: each token has its own.
    """
    longest = max(lengths)
    if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        boundaries = torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0).to(device, torch.int32)
        gathering = None
        if sharing is not None and sharing.shared_tokens:
            gathering = _gathering(sharing, torch.arange(sum(lengths)), sharing.rows).to(device)
        return PackedLayout(boundaries, gathering, None, longest)
    own = torch.arange(sum(lengths))
    return PackedLayout(None, None, _rectangles(lengths, sharing or Sharing(own, own), device), longest)


def _gathering(sharing: Sharing, slots: Tensor, slot_rows: Tensor) -> Gathering:
    """slots: int64 [n], where each token of the sequences lies; slot_rows: int64 [P], the row in each slot."""
    further = torch.ones(slots.numel(), dtype=torch.bool)
    further[sharing.kept] = False
    return Gathering(slot_rows, slots[sharing.kept], slots[further], sharing.rows[further])


def _rectangles(lengths: Sequence[int], sharing: Sharing, device: torch.device) -> Rectangles:
    sizes = torch.tensor(lengths, dtype=torch.int64)
    starts = sizes.cumsum(0) - sizes
    shapes: list[tuple[int, int]] = []
    slot_rows: list[Tensor] = []
    slots = torch.empty(int(sizes.sum()), dtype=torch.int64)
    offset = 0
    for bucket in _buckets(lengths):
        width = lengths[bucket[0]]
        members = torch.tensor(bucket)
        columns = torch.arange(width)
        real = columns < sizes[members, None]
        tokens = starts[members, None] + torch.minimum(columns, sizes[members, None] - 1)
        slots[tokens[real]] = (offset + torch.arange(tokens.numel()).view_as(tokens))[real]
        slot_rows.append(sharing.rows[tokens.flatten()])
        shapes.append((len(bucket), width))
        offset += tokens.numel()
    return Rectangles(tuple(shapes), _gathering(sharing, slots, torch.cat(slot_rows)).to(device))


def _buckets(lengths: Sequence[int]) -> list[list[int]]:
    buckets: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if buckets and lengths[buckets[-1][0]] <= BUCKET_RATIO * lengths[index]:
            buckets[-1].append(index)
        else:
            buckets.append([index])
    return buckets
