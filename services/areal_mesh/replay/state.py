"""The whole state of the buffer in memory, made from events and from where their records lie. No I/O."""

from collections.abc import Iterable

from areal_mesh.replay.drawing import GroupLedger
from areal_mesh.replay.events import Chosen, Dropped, Event, GroupSummary, Retired, SetAside, Stored, decode
from areal_mesh.replay.records import Location, Record
from areal_mesh.replay.retention import Retention


class BufferState:
    """The ledger, where the payloads lie, and what each segment holds: always changed together.

    `ledger` is for decisions and questions; events are applied here.
    """

    def __init__(self) -> None:
        self.ledger = GroupLedger()
        self._retention = Retention()
        self._locations: dict[str, Location] = {}
        self._retired_segment = 0

    def store(self, group: GroupSummary, location: Location) -> None:
        """A group is durable at `location`."""
        self.ledger.apply(Stored(group))
        self._locations[group.group_id] = location
        self._retention.store(location.segment, group.group_id)

    def decide(self, event: Event) -> None:
        """A decision counts from now on; `settle` follows once its record is durable."""
        self._end(self.ledger.apply(event))

    def recovered(self) -> None:
        """All records are read."""
        self._end(self.ledger.end_released())

    def _end(self, group_ids: Iterable[str]) -> None:
        for group_id in group_ids:
            del self._locations[group_id]
            self._retention.end(group_id)

    def settle(self, event: Event, location: Location) -> None:
        """The record of a decision is durable at `location`."""
        self._retention.hold(location.segment, event.step if isinstance(event, Chosen | Dropped | SetAside) else 0)

    def location(self, group_id: str) -> Location | None:
        """Where the payload of a waiting or chosen group lies; None for any other."""
        return self._locations.get(group_id)

    def retire(self) -> Retired | None:
        """What has to outlive the oldest segment before it may be deleted; None where it has to stay."""
        segment = self._retention.first_deletable(self.ledger.released_step)
        if segment is None:
            return None
        described = (self.ledger.describe(group_id) for group_id in self._retention.group_ids(segment))
        return Retired(segment, self.ledger.released_step, tuple(group for group in described if group is not None))

    def forget(self, retired: Retired) -> None:
        """What outlives the segment is durable elsewhere: the segment counts as gone."""
        self._retention.forget(retired.segment)
        self._retired_segment = retired.segment

    @property
    def retired_segment(self) -> int:
        """The last segment that counts as gone, 0 for none."""
        return self._retired_segment

    def recover_history(self, record: Record) -> None:
        """Takes a record of the history; all of these come before the first of the groups' log.

        Raises:
            ValueError: it is none.
        """
        event = decode(record.kind, record.payload)
        if not isinstance(event, Retired):
            raise ValueError(f"a record of kind {record.kind} lies in the history")
        self._retired_segment = event.segment
        self.ledger.restore(event.released_step, event.groups)

    def recover_event(self, record: Record) -> None:
        """Takes a record of the groups' log, in the log's order.

        Raises:
            ValueError: it contradicts the records before it.
        """
        event = decode(record.kind, record.payload)
        match event:
            case Stored(group):
                self.store(group, record.location)
            case Retired():
                raise ValueError(f"a record of the history lies in segment {record.location.segment} of the groups")
            case _:
                self.decide(event)
                self.settle(event, record.location)
