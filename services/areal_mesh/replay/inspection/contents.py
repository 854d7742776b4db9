"""What the records of a log add up to: every group in it with its end, the batch of every step. No I/O.

The buffer forgets what nobody needs any more; this keeps it, for as long as its record is in a segment.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from areal_mesh.replay.events import (
    Chosen,
    Dropped,
    GroupSummary,
    Kind,
    Released,
    Retired,
    SetAside,
    Stored,
    decode,
    group_payload,
)
from areal_mesh.replay.records import Location, Record
from areal_mesh.runtime.groups import payload_crc32c
from areal_mesh.v1 import rollout_pb2


class GroupEnd(StrEnum):
    """How far a stored group has come."""

    WAITING = "waiting"
    """To be drawn."""
    DRAWN = "drawn"
    """In the batch of a step."""
    STALE = "stale"
    """Dropped as too old."""
    SET_ASIDE = "set aside"
    """It could not be trained on."""


@dataclass(slots=True)
class LoggedGroup:
    """A group in the log."""

    summary: GroupSummary
    location: Location
    end: GroupEnd = GroupEnd.WAITING
    step: int = 0
    """Of the batch that it was drawn in, or set aside from; 0 for none."""


@dataclass
class LogContents:
    """Takes the records of the groups' log in their order, and those of the history in any."""

    groups: dict[str, LoggedGroup] = field(default_factory=dict)
    """By id, in the order in which they were stored."""
    batches: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Group ids of each step's batch, in the batch's order."""
    released_step: int = 0
    retired_segment: int = 0
    """The last segment that may be gone, by what the history says."""
    retired: set[str] = field(default_factory=set)
    """Ids of the groups of such segments."""

    def take(self, record: Record, whole_groups: bool = False) -> None:
        """Takes a record.

        Args:
            whole_groups: read the group in it too, and check its own checksum.

        Raises:
            ValueError: it is none of a log, or contradicts those before it.
        """
        event = decode(record.kind, record.payload)
        match event:
            case Stored(summary):
                if summary.group_id in self.groups:
                    raise ValueError(f"group {summary.group_id} is stored twice")
                self.groups[summary.group_id] = LoggedGroup(summary, record.location)
                if whole_groups:
                    _check(summary.group_id, parse_group(record))
            case Chosen(step, group_ids):
                self.batches[step] = group_ids
                self._end(group_ids, GroupEnd.DRAWN, step)
            case Dropped(group_ids, _, _):
                self._end(group_ids, GroupEnd.STALE)
            case SetAside(step, group_ids):
                self._end(self.batches.pop(step, ()), GroupEnd.WAITING)
                self._end(group_ids, GroupEnd.SET_ASIDE, step)
            case Released(step):
                self.released_step = max(self.released_step, step)
            case Retired(segment, released_step, groups):
                self.retired_segment = max(self.retired_segment, segment)
                self.released_step = max(self.released_step, released_step)
                self.retired.update(group.group_id for group in groups)

    def _end(self, group_ids: tuple[str, ...], end: GroupEnd, step: int = 0) -> None:
        for group_id in group_ids:
            # A segment that is gone may have held it.
            if (group := self.groups.get(group_id)) is not None:
                group.end, group.step = end, step

    def counted(self) -> Counter[GroupEnd]:
        """Groups in the log by end."""
        return Counter(group.end for group in self.groups.values())

    def missing(self, step: int) -> list[str]:
        """Groups of a step's batch that are not in the log any more."""
        return [group_id for group_id in self.batches[step] if group_id not in self.groups]

    def whole_steps(self) -> list[int]:
        """Steps whose batch is in the log with all its groups."""
        return [step for step in sorted(self.batches) if not self.missing(step)]


def parse_group(record: Record) -> rollout_pb2.Group:
    """The group of a record that stores one. Raises ValueError where its bytes are none."""
    if record.kind != Kind.STORED:
        raise ValueError(f"a record of kind {record.kind} holds no group")
    group = rollout_pb2.Group()
    try:
        group.ParseFromString(group_payload(record.payload))
    except Exception as error:  # protobuf's DecodeError is no ValueError, and each of its backends has its own
        raise ValueError(f"it holds no group: {error}") from error
    return group


def _check(group_id: str, group: rollout_pb2.Group) -> None:
    if group.group_id != group_id:
        raise ValueError(f"it is of group {group_id} and holds {group.group_id}")
    found = payload_crc32c(group)
    if found != group.crc32c:
        raise ValueError(f"group {group_id} has the checksum {group.crc32c:#010x}, and its buffers {found:#010x}")
