"""Prompts that several sequences of a micro-batch begin with: their tokens get one row each, for all of them.

In a causal model what stands after a token changes nothing of what is computed of it, so that the prompt's hidden
states are the same in every response to it, and its gradient is the sum over them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sharing:
    """T rows for the n tokens of sequences that lie end to end."""

    rows: Tensor
    """int64 [n]: the row of each token, from 0."""
    kept: Tensor
    """int64 [T]: the token that each row was made of, in rising order."""

    @property
    def shared_tokens(self) -> int:
        """Tokens without a row of their own."""
        return self.rows.numel() - self.kept.numel()


def share_prompts(sequences: Sequence[Tensor], prompt_lengths: Sequence[int]) -> Sharing:
    """Rows of sequences (int64 [tokens] each) of which each begins with a prompt of so many tokens."""
    first: dict[bytes, Tensor] = {}
    rows: list[Tensor] = []
    own: list[Tensor] = []
    count = 0
    for sequence, prompt_length in zip(sequences, prompt_lengths, strict=True):
        prompt = sequence[:prompt_length].numpy().tobytes()
        known = first.get(prompt)
        begin = 0 if known is None else prompt_length
        fresh = torch.arange(count, count + sequence.numel() - begin)
        count += fresh.numel()
        placed = fresh if known is None else torch.cat([known, fresh])
        first.setdefault(prompt, placed[:prompt_length])
        rows.append(placed)
        own.append(torch.arange(sequence.numel()) >= begin)
    return Sharing(torch.cat(rows), torch.cat(own).nonzero().flatten())
