"""How many responses are open in the engine at once: all its slots full, and a few more waiting; fewer while the KV
cache is short. A pure state machine: looks at the engine go in, the number of groups to lease comes out.

Slots are filled by responses, groups are leased whole. A group whose first responses have ended holds fewer slots, so
room is counted in responses that are open: the next groups' heads fill what a group's tail leaves empty. Beyond the
slots `_AHEAD` of them wait in the engine, so that a slot that comes free is filled in the same step, and a lease is a
call for several groups.

A full KV cache makes the engine preempt responses and compute them again. The limit falls by a tenth of what is open
when it preempted, or when the cache is nearly full, and rises by one group at a time while there is room
(multiplicative decrease, additive increase). It is lowered from what is open, not from itself, so that looking twice
before a response has ended lowers it once.

Invariants, each pinned by a test:

- group <= limit <= slots, where a group fits into the slots at all; no more than `max_groups` are ever held;
- the limit rises only while it is reached, so that idle time earns nothing;
- while fewer than `limit` are open, as many groups may be leased as reach it: no slot stays empty by this rule;
- what is leased opens no more than limit + ahead responses, or fewer than limit + one group.
"""

import math
from dataclasses import dataclass, replace

# Above it the next blocks of running responses may be missing.
_NEARLY_FULL = 0.95
# Below it a further group is unlikely to bring the cache to nearly full at once.
_ROOMY = 0.8
_DECREASE = 0.9
# Of the slots: at 250 responses a second and 128 slots an eighth of a second, ten times what a lease takes.
_AHEAD = 0.25


@dataclass(frozen=True)
class Look:
    """The engine at one moment."""

    open_responses: int
    """Running or waiting in the engine, or about to be given to it."""
    kv_cache_use: float
    """Share of blocks in use, 0 to 1."""
    preemptions: int
    """Since the engine's start."""


@dataclass(frozen=True)
class Concurrency:
    """The present limit; see the module."""

    slots: int
    """Responses that the engine computes at once."""
    group: int
    """Responses of a group."""
    max_groups: int
    """Most groups held, those among them that are graded or stored."""
    limit: int
    """Responses that may be open, those ahead of the slots aside."""
    preemptions: int = 0
    """As of the last look."""

    @classmethod
    def start(cls, slots: int, group: int, max_groups: int) -> "Concurrency":
        """Begins with every slot: the first look at a full cache lowers it.

        Raises:
            ValueError: one of them is less than one.
        """
        for name, value in (("max_sequences", slots), ("responses", group), ("max_groups_in_flight", max_groups)):
            if value < 1:
                raise ValueError(f"{name} = {value}: at least one has to be in flight")
        return cls(slots, group, max_groups, slots)

    def observe(self, look: Look) -> "Concurrency":
        """The limit after a look at the engine."""
        preempted = look.preemptions > self.preemptions
        seen = replace(self, preemptions=look.preemptions)
        if preempted or look.kv_cache_use >= _NEARLY_FULL:
            lowered = math.floor(min(look.open_responses, self.slots) * _DECREASE)
            return replace(seen, limit=max(self._least, min(self.limit, lowered)))
        if look.kv_cache_use < _ROOMY and look.open_responses >= self.limit:
            return replace(seen, limit=min(self.slots, self.limit + self.group))
        return seen

    def room(self, open_responses: int, groups_held: int) -> int:
        """Groups that may be leased now; 0 or more."""
        ahead = self.ahead
        if open_responses >= self.limit and open_responses > self.limit + ahead // 2:
            # Enough waits: a lease for one group at a time would cost a call each.
            return 0
        # As many as fit with those ahead; or more, where a slot would stay empty.
        groups = max(
            (self.limit + ahead - open_responses) // self.group, -((open_responses - self.limit) // self.group)
        )
        return max(0, min(groups, self.max_groups - groups_held))

    @property
    def ahead(self) -> int:
        """Responses to have waiting in the engine. None while the cache is short: the engine would start them."""
        return math.ceil(self.slots * _AHEAD) if self.limit >= self.slots else 0

    @property
    def _least(self) -> int:
        return min(self.group, self.slots)
