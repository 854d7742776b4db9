"""Which segments of the log may go: pure bookkeeping of what each still has to hold.

A segment goes once no group in it waits or belongs to a batch that is not released, once it holds no decision of a
step that is not released, and once all older segments go too. Records only ever refer back, so that what refers to a
group never goes before the group. The newest segment from which a durable record was seen stays: records in it may
be on their way, while those of the segments before it were all seen.
"""

from dataclasses import dataclass, field


@dataclass
class _Segment:
    group_ids: list[str] = field(default_factory=list)
    needed: int = 0
    last_step: int = 0


class Retention:
    """What each segment holds."""

    def __init__(self) -> None:
        self._segments: dict[int, _Segment] = {}
        self._of_group: dict[str, int] = {}

    def store(self, segment: int, group_id: str) -> None:
        """A group was stored in a segment, and is needed until it ends."""
        held = self._segments.setdefault(segment, _Segment())
        held.group_ids.append(group_id)
        held.needed += 1
        self._of_group[group_id] = segment

    def hold(self, segment: int, step: int) -> None:
        """A decision of a step was recorded in a segment; step 0 needs no holding."""
        held = self._segments.setdefault(segment, _Segment())
        held.last_step = max(held.last_step, step)

    def end(self, group_id: str) -> None:
        """The group's payload is no longer needed."""
        self._segments[self._of_group.pop(group_id)].needed -= 1

    def first_deletable(self, released_step: int) -> int | None:
        """The oldest segment, if it may go once the steps up to `released_step` are released."""
        if len(self._segments) < 2:
            return None
        oldest = min(self._segments)
        held = self._segments[oldest]
        return None if held.needed or held.last_step > released_step else oldest

    def group_ids(self, segment: int) -> tuple[str, ...]:
        """All groups stored in a segment."""
        return tuple(self._segments[segment].group_ids)

    def forget(self, segment: int) -> None:
        """The segment is deleted."""
        del self._segments[segment]
