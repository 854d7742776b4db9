"""Replay buffer, generators and time of a simulated mesh."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from areal_mesh.controller.clock import Clock
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.drawing import GroupLedger
from areal_mesh.replay.events import Chosen, Dropped, Event, GroupSummary, Stored
from areal_mesh.v1 import replay_pb2


@dataclass
class Time:
    now: float = 1000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now)


@dataclass
class Replay:
    """The real ledger of the replay buffer, and the events that are its log."""

    events: list[Event] = field(default_factory=list)
    ledger: GroupLedger = field(default_factory=GroupLedger)

    def record(self, events: Iterable[Event]) -> None:
        for event in events:
            self.events.append(event)
            self.ledger.apply(event)

    def restart(self) -> None:
        """All that is known is what the log says."""
        self.ledger = GroupLedger()
        for event in self.events:
            self.ledger.apply(event)

    def append(self, group_id: str, version: int) -> None:
        if not self.ledger.knows(group_id):
            self.record([Stored(GroupSummary(group_id, int(group_id[1:]), version, 1))])

    def waiting(self) -> list[GroupSummary]:
        ended = {name for event in self.events if isinstance(event, Chosen | Dropped) for name in event.group_ids}
        stored = [event.group for event in self.events if isinstance(event, Stored)]
        return [group for group in stored if group.group_id not in ended]

    def lose(self, group: GroupSummary) -> None:
        """The disk loses a group."""
        self.events.remove(Stored(group))
        self.restart()

    def evict(self, version: int, bound: int) -> tuple[str, ...]:
        self.record(self.ledger.evict(version, bound))
        return self.ledger.stale_since(version)

    def draw(self, request: DrawRequest, patient: bool) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        oldest = {group.group_id: group.oldest_policy_version for group in self.waiting()}
        events = self.ledger.draw(request, patient).events
        for event in events:
            if isinstance(event, Chosen):
                assert all(oldest[group_id] >= request.oldest_trainable for group_id in event.group_ids)
        self.record(events)
        return self.ledger.batch(request.step), self.ledger.stale_of_step(request.step)

    def find(self, group_ids: Iterable[str]) -> list[replay_pb2.StoredGroup]:
        found = [self.ledger.describe(group_id) for group_id in group_ids]
        return [
            replay_pb2.StoredGroup(
                group_id=group.group_id,
                oldest_policy_version=group.oldest_policy_version,
                stale=group.dropped_version >= 0,
            )
            for group in found
            if group is not None
        ]


@dataclass
class Generator:
    life: int = 0
    version: int = -1
    alive: bool = True
    held: dict[str, int] = field(default_factory=dict)
    """Group id to the version it began with."""

    @property
    def key(self) -> str:
        return f"generator/{self.life}"
