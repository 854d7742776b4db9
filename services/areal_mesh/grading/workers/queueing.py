"""How many answers may wait: a bound in items, and how long one who is refused had better wait. No I/O, no clock.

What is admitted is graded; what is not is refused at once, so that a caller's deadline is never spent in a queue that
cannot serve it.
"""

from dataclasses import dataclass

# A refused caller that comes back sooner than this only adds load; later than that, the queue may stand empty.
_SHORTEST_WAIT = 0.05
_LONGEST_WAIT = 5.0
# Weight of the newest batch in the mean time of an answer.
_NEWEST = 0.2


@dataclass
class ItemQueue:
    """Items admitted and not yet graded.

    Invariants: 0 <= waiting <= max_items; every admission is released once.
    """

    max_items: int
    waiting: int = 0
    seconds_per_item: float = 0.001
    """Running mean of the time between two graded items of a busy service."""

    def admit(self, items: int) -> float | None:
        """Admits a batch, or says in how many seconds there may be room. None: admitted.

        Raises:
            ValueError: the batch is larger than the whole queue and could never be admitted.
        """
        if items > self.max_items:
            raise ValueError(f"{items} items are more than the {self.max_items} that may wait; send smaller batches")
        excess = self.waiting + items - self.max_items
        if excess > 0:
            return min(max(excess * self.seconds_per_item, _SHORTEST_WAIT), _LONGEST_WAIT)
        self.waiting += items
        return None

    def release(self, items: int, seconds: float) -> None:
        """The batch of an admission was graded, or given up, `seconds` after it was admitted."""
        self.waiting -= items
        if items > 0:
            self.seconds_per_item += _NEWEST * (seconds / items - self.seconds_per_item)
