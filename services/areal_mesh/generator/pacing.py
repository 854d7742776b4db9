"""How many groups are worked on at once: as many as the settings allow, fewer while the KV cache is short.

A full KV cache makes the engine preempt sequences and compute them again. The limit falls by a tenth of what is in
flight while the cache is nearly full, and rises by one group at a time while there is room: it is lowered from what is
in flight, not from itself, so that looking twice before a group has ended lowers it once.
"""

import math
from dataclasses import dataclass, replace

# Above it the next blocks of running sequences may be missing.
_NEARLY_FULL = 0.95
# Below it a further group is unlikely to bring the cache to nearly full at once.
_ROOMY = 0.8
_DECREASE = 0.9


@dataclass(frozen=True)
class Pacing:
    """The present limit.

    Invariants: 1 <= limit <= max_groups; the limit rises only while it is reached, so that idle time earns nothing.
    """

    max_groups: int
    """Most groups in flight, from the settings."""
    limit: int
    """Groups that may be in flight now."""

    @classmethod
    def start(cls, max_groups: int) -> "Pacing":
        """Begins at the most: the first look at a full cache lowers it. Raises ValueError for less than one group."""
        if max_groups < 1:
            raise ValueError(f"max_groups_in_flight = {max_groups}: at least one group has to be in flight")
        return cls(max_groups, max_groups)

    def observe(self, groups_in_flight: int, kv_cache_use: float) -> "Pacing":
        """The pacing after a look at the engine; `kv_cache_use` is the share of blocks in use, 0 to 1."""
        if kv_cache_use >= _NEARLY_FULL:
            lowered = math.floor(groups_in_flight * _DECREASE)
            return replace(self, limit=max(1, min(self.limit, lowered)))
        if kv_cache_use < _ROOMY and groups_in_flight >= self.limit:
            return replace(self, limit=min(self.max_groups, self.limit + 1))
        return self

    def room(self, groups_in_flight: int) -> int:
        """Groups that may be leased now; 0 or more."""
        return max(0, self.limit - groups_in_flight)
