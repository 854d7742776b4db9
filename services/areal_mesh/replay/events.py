"""What the log's records say: the events that make the state of the buffer, and their bytes.

The log in `groups/` holds Stored (followed by the group itself), Chosen, Dropped, SetAside and Released; the one in
`history/` holds Retired. Integers are little-endian; an id is a 16-bit length and UTF-8.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

_STORED = struct.Struct("<qq")
_CHOSEN = struct.Struct("<q")
_DROPPED = struct.Struct("<qq")
_RELEASED = struct.Struct("<q")
_RETIRED = struct.Struct("<qq")
_ENTRY = struct.Struct("<qq")
_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<H")

MAX_ID_BYTES = 256
WAS_SET_ASIDE = -2


class Kind(IntEnum):
    """Kinds of records; the numbers are the file format's."""

    STORED = 1
    CHOSEN = 2
    DROPPED = 3
    RELEASED = 4
    RETIRED = 5
    SET_ASIDE = 6


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """What is kept of a group in memory: id, order of its lease, oldest policy version in it, bytes on the wire."""

    group_id: str
    sequence: int
    oldest_policy_version: int
    size: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A group was accepted."""

    group: GroupSummary


@dataclass(frozen=True, slots=True)
class Chosen:
    """These groups, in this order, are the batch of a step."""

    step: int
    group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """These groups were too old at a policy version: found while drawing `step`, or evicted (`step` 0)."""

    group_ids: tuple[str, ...]
    policy_version: int
    step: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """These groups of a step's batch could not be trained on; the others wait again, and the step is drawn again."""

    step: int
    group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """The batches of the steps up to this one are no longer needed."""

    step: int


@dataclass(frozen=True, slots=True)
class RetiredGroup:
    """What outlives a group's payload.

    `dropped_version` is -1 unless the group ended as stale, or WAS_SET_ASIDE.
    """

    group_id: str
    oldest_policy_version: int
    dropped_version: int


@dataclass(frozen=True, slots=True)
class Retired:
    """Segments up to this one may be deleted: their groups, and the steps released by then."""

    segment: int
    released_step: int
    groups: tuple[RetiredGroup, ...]


Event = Stored | Chosen | Dropped | SetAside | Released


def encode(event: Event | Retired, payload: bytes = b"") -> tuple[Kind, tuple[bytes, ...]]:
    """Kind and bytes of an event; `payload`, the serialised group, follows a Stored."""
    match event:
        case Stored(group):
            head = _STORED.pack(group.sequence, group.oldest_policy_version)
            return Kind.STORED, (head + _pack_id(group.group_id), payload)
        case Chosen(step, group_ids):
            return Kind.CHOSEN, (_CHOSEN.pack(step) + _pack_ids(group_ids),)
        case Dropped(group_ids, policy_version, step):
            return Kind.DROPPED, (_DROPPED.pack(policy_version, step) + _pack_ids(group_ids),)
        case SetAside(step, group_ids):
            return Kind.SET_ASIDE, (_CHOSEN.pack(step) + _pack_ids(group_ids),)
        case Released(step):
            return Kind.RELEASED, (_RELEASED.pack(step),)
        case Retired(segment, released_step, groups):
            head = _RETIRED.pack(segment, released_step) + _pack_ids([group.group_id for group in groups])
            entries = [_ENTRY.pack(group.oldest_policy_version, group.dropped_version) for group in groups]
            return Kind.RETIRED, (head + b"".join(entries),)


def decode(kind: int, data: bytes) -> Event | Retired:
    """The event of a record.

    Raises:
        ValueError: a kind that this version does not write.
    """
    match kind:
        case Kind.STORED:
            sequence, oldest = _STORED.unpack_from(data)
            group_id, end = _unpack_id(data, _STORED.size)
            return Stored(GroupSummary(group_id, sequence, oldest, len(data) - end))
        case Kind.CHOSEN:
            group_ids, _ = _unpack_ids(data, _CHOSEN.size)
            return Chosen(_CHOSEN.unpack_from(data)[0], group_ids)
        case Kind.DROPPED:
            policy_version, step = _DROPPED.unpack_from(data)
            return Dropped(_unpack_ids(data, _DROPPED.size)[0], policy_version, step)
        case Kind.SET_ASIDE:
            return SetAside(_CHOSEN.unpack_from(data)[0], _unpack_ids(data, _CHOSEN.size)[0])
        case Kind.RELEASED:
            return Released(_RELEASED.unpack(data)[0])
        case Kind.RETIRED:
            return _decode_retired(data)
    raise ValueError(f"record kind {kind} is unknown: the log was written by a later version of AReaL Mesh")


def group_payload(data: bytes) -> bytes:
    """The serialised group in the record of a Stored."""
    return data[group_start(data) :]


def group_start(data: bytes) -> int:
    """The offset of the serialised group in the record of a Stored."""
    (length,) = _LENGTH.unpack_from(data, _STORED.size)
    return _STORED.size + _LENGTH.size + int(length)


def _decode_retired(data: bytes) -> Retired:
    segment, released_step = _RETIRED.unpack_from(data)
    group_ids, offset = _unpack_ids(data, _RETIRED.size)
    entries = _ENTRY.iter_unpack(data[offset:])
    groups = tuple(RetiredGroup(group_id, *entry) for group_id, entry in zip(group_ids, entries, strict=True))
    return Retired(segment, released_step, groups)


def _pack_id(group_id: str) -> bytes:
    encoded = group_id.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _unpack_id(data: bytes, offset: int) -> tuple[str, int]:
    (length,) = _LENGTH.unpack_from(data, offset)
    start = offset + _LENGTH.size
    return data[start : start + length].decode(), start + length


def _pack_ids(group_ids: Sequence[str]) -> bytes:
    return _COUNT.pack(len(group_ids)) + b"".join(_pack_id(group_id) for group_id in group_ids)


def _unpack_ids(data: bytes, offset: int) -> tuple[tuple[str, ...], int]:
    (count,) = _COUNT.unpack_from(data, offset)
    offset += _COUNT.size
    group_ids = []
    for _ in range(count):
        group_id, offset = _unpack_id(data, offset)
        group_ids.append(group_id)
    return tuple(group_ids), offset
