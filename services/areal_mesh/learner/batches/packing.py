"""How a batch is cut up: minibatches, shares of ranks, token-packed micro-batches. Pure, on lengths alone.

Invariants, each asserted by a test:

1. Every response to train on is in exactly one minibatch, on exactly one rank, in exactly one micro-batch.
2. Minibatches differ by at most the longest response in tokens, or the longest group where they are of whole ones;
   shares of ranks by at most the dearest response in cost. No minibatch is empty.
3. A micro-batch holds at most the budget of tokens, unless it is one response that is longer by itself.
4. A rank with the most micro-batches has as many as first-fit-decreasing needs, and no two of those would fit into one.
5. In every minibatch each rank has the same number of micro-batches, because each forward pass is a collective under
   sharding; a rank that runs out of responses gets empty ones.
6. The cut is a function of the lengths and the keys, and not of the order in which responses are given: the same on
   every rank, in every repetition, and for a batch whose responses are permuted.

Lengths are whole sequences, prompt and response, in tokens. What a pass costs grows with them faster than linearly:
attention has a quadratic term, which is weighed by `parity`, the length at which it costs what the rest does.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

Indices = tuple[int, ...]


@dataclass(frozen=True)
class Responses:
    """What is to be cut up, by index in the batch."""

    lengths: Sequence[int]
    keys: Sequence[int]
    """Which of two responses of equal length comes first; equal where they are interchangeable."""
    parity: int
    """Tokens at which attention costs as much as everything else."""
    groups: Sequence[int] | None = None
    """Of each response its group, which one minibatch gets whole; None where each response is for itself."""

    def ordered(self, indices: Sequence[int]) -> list[int]:
        """From long to short."""
        return sorted(indices, key=lambda index: (-self.lengths[index], self.keys[index]))

    def cost(self, index: int) -> float:
        """Of a pass over the response, in tokens of a short one."""
        length = self.lengths[index]
        return length + length * length / self.parity

    def tokens(self, indices: Sequence[int]) -> int:
        """Of these responses together."""
        return sum(self.lengths[index] for index in indices)


def partition(weights: Sequence[float], parts: int) -> list[Indices]:
    """Positions of weights (each over 0, the largest first) in parts of nearly equal sums (Karmarkar and Karp 1982).

    The largest differencing method: of all partial partitions the two with the largest spread are joined, the heaviest
    part of the one with the lightest of the other. A part is empty only if there are fewer weights than parts; sums
    differ by at most the largest weight. Raises ValueError if `parts` is below 1.
    """
    if parts < 1:
        raise ValueError(f"cannot split {len(weights)} responses into {parts} parts: ask for at least 1")
    empty = [(0.0, ())] * (parts - 1)
    heap: list[tuple[float, int, list[tuple[float, Indices]]]] = [
        (-weight, position, [(weight, (position,)), *empty]) for position, weight in enumerate(weights)
    ]
    if not heap:
        return [()] * parts
    heapq.heapify(heap)
    serial = len(heap)
    while len(heap) > 1:
        _, _, one = heapq.heappop(heap)
        _, _, other = heapq.heappop(heap)
        joined = [
            (heavy + light, members + others)
            for (heavy, members), (light, others) in zip(one, reversed(other), strict=True)
        ]
        joined.sort(key=lambda part: -part[0])
        heapq.heappush(heap, (joined[-1][0] - joined[0][0], serial, joined))
        serial += 1
    return [members for _, members in heap[0][2]]


def split(responses: Responses, indices: Sequence[int], parts: int) -> list[Indices]:
    """Responses in parts of nearly equal cost; each part from long to short."""
    ordered = responses.ordered(indices)
    shares = partition([responses.cost(index) for index in ordered], parts)
    return [tuple(ordered[position] for position in sorted(share)) for share in shares]


def cut_minibatches(responses: Responses, indices: Sequence[int], count: int) -> list[Indices]:
    """At most `count` parts of nearly equal tokens, none of them empty; each from long to short."""
    groups: dict[int, list[int]] = {}
    for index in indices:
        groups.setdefault(index if responses.groups is None else responses.groups[index], []).append(index)
    ordered = sorted(
        groups.values(),
        key=lambda members: (-responses.tokens(members), min(responses.keys[index] for index in members)),
    )
    parts = partition([float(responses.tokens(members)) for members in ordered], min(count, len(ordered)))
    return [tuple(responses.ordered([index for place in part for index in ordered[place]])) for part in parts]


def pack(responses: Responses, indices: Sequence[int], max_tokens: int) -> list[Indices]:
    """First-fit-decreasing into micro-batches of at most `max_tokens` tokens; an over-long response is alone.

    Inside a micro-batch responses go from long to short. Raises ValueError if `max_tokens` is below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens_per_micro_batch is {max_tokens}: set it to at least 1")
    bins: list[list[int]] = []
    room: list[int] = []
    for index in responses.ordered(indices):
        length = responses.lengths[index]
        fitting = next((position for position, left in enumerate(room) if length <= left), None)
        if fitting is None:
            bins.append([index])
            room.append(max_tokens - length)
        else:
            bins[fitting].append(index)
            room[fitting] -= length
    return [tuple(members) for members in bins]


def level(responses: Responses, packed: Sequence[Indices], count: int, max_tokens: int) -> list[Indices]:
    """A rank's micro-batches as `count` of them, at least as many as are packed, of nearly equal cost.

    Where parts of equal cost would break the budget, the packed ones stay: the fullest are halved, empty ones added.
    """
    members = [index for part in packed for index in part]
    if len(members) >= count:
        even = split(responses, members, count)
        if all(len(part) == 1 or responses.tokens(part) <= max_tokens for part in even):
            return even
    return _stretch(list(packed), count)


def _stretch(bins: list[Indices], count: int) -> list[Indices]:
    while len(bins) < count:
        fullest = max(range(len(bins)), key=lambda position: len(bins[position]), default=None)
        if fullest is None or len(bins[fullest]) < 2:
            bins.append(())
            continue
        members = bins[fullest]
        # Every second one, so that both halves keep about half the tokens and the order from long to short.
        bins[fullest : fullest + 1] = [members[0::2], members[1::2]]
    return bins


def plan_step(
    responses: Responses,
    indices: Sequence[int],
    minibatches: int,
    max_tokens: int,
    rank: int = 0,
    world_size: int = 1,
) -> list[list[Indices]]:
    """One rank's micro-batches (response indices) for each minibatch of a step.

    indices: of the responses to train on. Fewer of them, or of their groups, than minibatches give as many minibatches.
    Raises ValueError for none or for settings below 1.
    """
    if not indices:
        raise ValueError("cannot plan a step over no responses: draw a batch that has some")
    plan = []
    for minibatch in cut_minibatches(responses, indices, minibatches):
        shares = split(responses, minibatch, world_size)
        packed = [pack(responses, share, max_tokens) for share in shares]
        plan.append(level(responses, packed[rank], max(len(bins) for bins in packed), max_tokens))
    return plan
