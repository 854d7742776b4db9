"""How a batch is cut up: minibatches, shares of ranks, token-packed micro-batches. Pure, on lengths alone.

Invariants, each asserted by a test:

1. Every response to train on is in exactly one minibatch, on exactly one rank, in exactly one micro-batch.
2. Minibatches (and shares of ranks) differ by at most the longest response in tokens; no minibatch is empty.
3. A micro-batch holds at most the budget of tokens, unless it is one response that is longer by itself.
4. No two micro-batches of one packing would fit into one (first-fit-decreasing).
5. In every minibatch each rank has the same number of micro-batches, because each forward pass is a collective under
   sharding; a rank that runs out of responses gets empty ones.
6. The cut is a function of the lengths: the same on every rank and in every repetition.

Lengths are whole sequences, prompt and response, in tokens, for that is what a pass costs.
"""

import heapq
from collections.abc import Sequence

Indices = tuple[int, ...]


def balance(lengths: Sequence[int], indices: Sequence[int], parts: int) -> list[Indices]:
    """Split responses into parts of nearly equal tokens: longest first, each to the part with the fewest tokens.

    lengths: tokens of every response of the batch; indices: those to split. A part is empty only if there are fewer
    responses than parts. Raises ValueError if `parts` is below 1.
    """
    if parts < 1:
        raise ValueError(f"cannot split {len(indices)} responses into {parts} parts: ask for at least 1")
    heap = [(0, part) for part in range(parts)]
    chosen: list[list[int]] = [[] for _ in range(parts)]
    for index in sorted(indices, key=lambda index: (-lengths[index], index)):
        tokens, part = heapq.heappop(heap)
        chosen[part].append(index)
        heapq.heappush(heap, (tokens + lengths[index], part))
    return [tuple(part) for part in chosen]


def pack(lengths: Sequence[int], indices: Sequence[int], max_tokens: int) -> list[Indices]:
    """First-fit-decreasing into micro-batches of at most `max_tokens` tokens; an over-long response is alone.

    Inside a micro-batch responses go from long to short. Raises ValueError if `max_tokens` is below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens_per_micro_batch is {max_tokens}: set it to at least 1")
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(indices, key=lambda index: (-lengths[index], index)):
        length = lengths[index]
        fitting = next((position for position, left in enumerate(room) if length <= left), None)
        if fitting is None:
            bins.append([index])
            room.append(max_tokens - length)
        else:
            bins[fitting].append(index)
            room[fitting] -= length
    return [tuple(members) for members in bins]


def equalise(per_rank: Sequence[Sequence[Indices]]) -> list[list[Indices]]:
    """Give every rank as many micro-batches as the one with the most: halve the fullest, then add empty ones."""
    target = max(len(bins) for bins in per_rank)
    return [_stretch(list(bins), target) for bins in per_rank]


def _stretch(bins: list[Indices], target: int) -> list[Indices]:
    while len(bins) < target:
        fullest = max(range(len(bins)), key=lambda position: len(bins[position]), default=None)
        if fullest is None or len(bins[fullest]) < 2:
            bins.append(())
            continue
        members = bins[fullest]
        # Every second one, so that both halves keep about half the tokens and the order from long to short.
        bins[fullest : fullest + 1] = [members[0::2], members[1::2]]
    return bins


def plan_step(
    lengths: Sequence[int],
    indices: Sequence[int],
    minibatches: int,
    max_tokens: int,
    rank: int = 0,
    world_size: int = 1,
) -> list[list[Indices]]:
    """One rank's micro-batches (response indices) for each minibatch of a step.

    lengths: of every response of the batch; indices: those to train on. Fewer of them than minibatches give as many
    minibatches as responses. Raises ValueError for none or for settings below 1.
    """
    if not indices:
        raise ValueError("cannot plan a step over no responses: draw a batch that has some")
    parts = balance(lengths, indices, min(minibatches, len(indices)))
    plan = []
    for part in parts:
        shares = [pack(lengths, share, max_tokens) for share in balance(lengths, part, world_size)]
        plan.append(equalise(shares)[rank])
    return plan
