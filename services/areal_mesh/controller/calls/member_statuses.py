"""The members as status shows them: a message of each is kept, and made anew where what it shows has changed.

A run of hundreds of members is looked at several times a second, and between two looks a few of them have spoken.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration

from areal_mesh.controller.member import Member
from areal_mesh.v1 import status_pb2

_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Kept:
    """A member's message, and what it was made of."""

    shown: tuple[Any, ...]
    metrics: dict[str, float]
    message: status_pb2.ServiceStatus


class MemberStatuses:
    """Writes the members' part of a status.

    Args:
        waits_for: what keeps weights from a member, empty where nothing does.
    """

    def __init__(self, waits_for: Callable[[Member], str]) -> None:
        self._waits_for = waits_for
        self._kept: dict[str, _Kept] = {}

    def of(self, members: Iterable[Member], now: float) -> list[status_pb2.ServiceStatus]:
        """A message a member, in their order; the next call changes them."""
        kept = {member.key: self._look_at(member, now) for member in members}
        self._kept = kept
        return [one.message for one in kept.values()]

    def _look_at(self, member: Member, now: float) -> _Kept:
        waits_for = self._waits_for(member)
        shown = (member.state, member.policy_version, member.rate, member.rate_unit, member.starts, waits_for)
        kept = self._kept.get(member.key)
        # A heartbeat brings metrics of its own, and never changes those of the one before.
        if kept is None or kept.shown != shown or kept.metrics is not member.metrics:
            kept = _Kept(shown, member.metrics, _message(member, waits_for))
        _set(kept.message.since_progress, now - member.progress_at)
        _set(kept.message.since_heartbeat, now - member.seen_at)
        return kept


def _message(member: Member, waits_for: str) -> status_pb2.ServiceStatus:
    return status_pb2.ServiceStatus(
        role=member.role,
        service_id=member.service_id,
        address=member.address,
        state=member.state,
        policy_version=member.policy_version,
        rate=member.rate,
        rate_unit=member.rate_unit,
        since_progress=Duration(),
        since_heartbeat=Duration(),
        starts=member.starts,
        waits_for=waits_for,
        metrics=member.metrics,
    )


def _set(duration: Duration, seconds: float) -> None:
    """Sets a duration, which is not negative."""
    duration.seconds, duration.nanos = divmod(round(max(0.0, seconds) * _BILLION), _BILLION)
