"""What the buffer answers: a draw, and its statistics."""

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Drawn:
    """The answer to a draw.

    `group_ids`: the batch in order, None where there are not enough groups. `stale_group_ids`: all groups found too
    old since the step's draw began, also those that an earlier answer named.
    """

    group_ids: tuple[str, ...] | None
    stale_group_ids: tuple[str, ...]


@dataclass(frozen=True)
class Statistics:
    """What the buffer holds; `staleness` counts waiting groups, `dropped` counts by reason, steps are 0 for none.

    Duplicates, and the seconds that draws were held, are counted since the process started, stale groups since the log
    began.
    """

    waiting_groups: int
    waiting_bytes: int
    consumed_groups: int
    bytes_on_disk: int
    bytes_limit: int
    staleness: Counter[int]
    dropped: dict[str, int]
    last_drawn_step: int
    released_step: int
    held_seconds: float
