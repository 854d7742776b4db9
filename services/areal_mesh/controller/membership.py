"""Membership: who lives, since when, with which weights. Pure; time comes in as an argument (monotonic seconds).

Invariants:

- a service id has one life at a time: registering with another incarnation replaces the earlier life, whose leases
  are free at once, and a replaced life never comes back;
- the learner's and the replay buffer's places are one service's each, until it has left or was lost;
- there are MOST_MEMBERS members at most;
- a member silent for longer than the lease is LOST until it speaks again;
- a heartbeat sent before a publish cannot undo it: within a life the policy version never falls, save that a
  generator whose weights a failed publish tore says twice in a row that it has none;
- a generator whose digests were wrong is quarantined for the rest of its life.
"""

from collections.abc import Iterable, Mapping, Sequence

import grpc

from areal_mesh.controller.member import Introduction, Member, holder_key
from areal_mesh.runtime.errors import MeshError, aborted, not_found, resource_exhausted
from areal_mesh.v1 import common_pb2
from areal_mesh.v1.common_pb2 import Role

_HEARTBEATS_A_SECOND = 200  # a tenth of a core
MOST_MEMBERS = 4_096
# Names ever seen, which the ledger keeps for the run's length.
_MOST_SERVICES = 4 * MOST_MEMBERS
_REPLACED_KEPT = 2 * MOST_MEMBERS
_ROOM_SECONDS = 5.0
_ONE_PLACE = (common_pb2.ROLE_LEARNER, common_pb2.ROLE_REPLAY)


def _seen_at(member: Member) -> float:
    return member.seen_at


def heartbeat_seconds(members: int, shortest: float, lease_seconds: float) -> float:
    """Time between a member's heartbeats: the shortest that the settings say, longer where there are hundreds.

    Three heartbeats in a row may be lost before a lease is.
    """
    return max(shortest, min(members / _HEARTBEATS_A_SECOND, lease_seconds / 4))


class Roster:
    """The members of the run.

    Args:
        lease_seconds: a member silent for this long is lost.
        starts: lives of each service that the ledger has seen.
    """

    def __init__(self, lease_seconds: float, starts: Mapping[str, int] | None = None) -> None:
        self._lease_seconds = lease_seconds
        self._members: dict[str, Member] = {}
        self._in_order: tuple[Member, ...] | None = None
        self._lives: dict[str, Member] = {}
        self._roles: dict[Role.ValueType, dict[str, Member]] = {}
        self._starts = dict(starts or {})
        self._replaced: dict[str, None] = {}
        self.met: set[str] = set()
        """Services that have registered."""

    def register(self, introduction: Introduction, now: float, new_life: bool) -> Member | None:
        """Takes a member in; returns the earlier life that it replaces, if there is one.

        Args:
            new_life: the ledger has not seen this incarnation before.

        Raises:
            MeshError: ABORTED, a newer life of the service has registered since.
        """
        key = holder_key(introduction.service_id, introduction.incarnation)
        if key in self._replaced:
            raise aborted(
                f"{introduction.service_id}: a newer process of this service has registered; this one may end"
            )
        if new_life:
            self._starts[introduction.service_id] = self._starts.get(introduction.service_id, 0) + 1
        earlier = self._members.get(introduction.service_id)
        same_life = earlier is not None and earlier.incarnation == introduction.incarnation
        version = introduction.policy_version
        member = Member(
            service_id=introduction.service_id,
            incarnation=introduction.incarnation,
            role=introduction.role,
            address=introduction.address,
            policy_version=max(version, earlier.policy_version) if same_life and earlier else version,
            transfer_ranks=introduction.transfer_ranks,
            seen_at=now,
            starts=self._starts.get(introduction.service_id, 1),
            quarantined=bool(same_life and earlier and earlier.quarantined),
            progress_at=now,
        )
        self._put(member, earlier)
        self.met.add(introduction.service_id)
        if earlier is None or same_life:
            return None
        self._replace(earlier.key)
        return earlier

    def check_room(self, service_id: str, role: Role.ValueType) -> None:
        """Makes room for a service that is to register; comes before anything is written of it.

        Raises:
            MeshError: ALREADY_EXISTS, its name or its role's one place is another's, which lives; RESOURCE_EXHAUSTED,
                there are too many members or services.
        """
        same = self._members.get(service_id)
        rivals = [same] if same is not None and same.role != role else []
        if role in _ONE_PLACE:
            rivals += [member for member in self._of(role) if member.service_id != service_id]
        for rival in rivals:
            if not rival.lost:
                raise MeshError(
                    grpc.StatusCode.ALREADY_EXISTS,
                    f"{rival.service_id} at {rival.address} has the place of {service_id}; it is free once that "
                    f"service has left, or has been silent for {self._lease_seconds:g} s",
                )
            self._end(rival)
        if service_id not in self._members and len(self._members) >= MOST_MEMBERS:
            silent = min((other for other in self._members.values() if other.lost), key=_seen_at, default=None)
            if silent is None:
                raise resource_exhausted(f"the run has {MOST_MEMBERS} members, as many as it takes", _ROOM_SECONDS)
            self._end(silent)
        if service_id not in self._starts and len(self._starts) >= _MOST_SERVICES:
            raise resource_exhausted(f"the run has had {_MOST_SERVICES} services, as many as it takes", _ROOM_SECONDS)

    def _end(self, member: Member) -> None:
        self.remove(member.service_id, member.incarnation)
        self._replace(member.key)

    def _replace(self, key: str) -> None:
        """Ends a life; the longest replaced are forgotten, and would be told to register again."""
        self._replaced[key] = None
        while len(self._replaced) > _REPLACED_KEPT:
            del self._replaced[next(iter(self._replaced))]

    def _put(self, member: Member, earlier: Member | None) -> None:
        if earlier is not None:
            del self._lives[earlier.key]
            if earlier.role != member.role:
                del self._roles[earlier.role][earlier.service_id]
        self._members[member.service_id] = member
        self._in_order = None
        self._lives[member.key] = member
        self._roles.setdefault(member.role, {})[member.service_id] = member

    def knows(self, service_id: str, incarnation: str) -> bool:
        """Whether this life is a member, or was replaced: whether `speak` would say more than "not yet"."""
        member = self._members.get(service_id)
        return holder_key(service_id, incarnation) in self._replaced or (
            member is not None and member.incarnation == incarnation
        )

    def speak(self, service_id: str, incarnation: str, now: float) -> Member:
        """The member that calls; a call is a sign of life.

        Raises:
            MeshError: NOT_FOUND if it has to register (again), ABORTED if a newer life has replaced it.
        """
        if holder_key(service_id, incarnation) in self._replaced:
            raise aborted(f"{service_id}: a newer process of this service has registered; this one may end")
        member = self._members.get(service_id)
        if member is None or member.incarnation != incarnation:
            raise not_found(f"{service_id} is not a member; register first")
        member.seen_at = now
        if member.lost:
            member.state = common_pb2.SERVICE_STATE_SERVING
        return member

    def holds(self, key: str, version: int) -> None:
        """Notes that a life holds `version` now."""
        member = self.find(key)
        if member is not None:
            member.policy_version = max(member.policy_version, version)
            # A heartbeat that says "none" may have been on its way since before.
            member.reports_without_weights = 0

    def reports(self, member: Member, version: int) -> None:
        """Takes in the version that a heartbeat states; -1 for none."""
        member.reports_without_weights = member.reports_without_weights + 1 if version < 0 else 0
        if member.reports_without_weights >= 2:
            member.policy_version = -1
        else:
            member.policy_version = max(member.policy_version, version)

    def find(self, key: str) -> Member | None:
        """The member with this life's key; None if that life is over."""
        return self._lives.get(key)

    def remove(self, service_id: str, incarnation: str) -> Member | None:
        """Takes a member out; None if that life is no member."""
        member = self._members.get(service_id)
        if member is None or member.incarnation != incarnation:
            return None
        del self._lives[member.key]
        del self._roles[member.role][service_id]
        self._in_order = None
        return self._members.pop(service_id)

    def remove_earlier(self, service_id: str, incarnation: str) -> Member | None:
        """Takes out another life of a service; None if there is none."""
        member = self._members.get(service_id)
        if member is None or member.incarnation == incarnation:
            return None
        return self.remove(service_id, member.incarnation)

    def expire(self, now: float) -> list[Member]:
        """Marks members that were silent for too long as LOST; returns those that became so."""
        lost = [
            member
            for member in self._members.values()
            if not member.lost and now - member.seen_at > self._lease_seconds
        ]
        for member in lost:
            member.state = common_pb2.SERVICE_STATE_LOST
        return lost

    def all(self) -> Sequence[Member]:
        """Every member, the lost included, by role and name."""
        if self._in_order is None:
            self._in_order = tuple(sorted(self._members.values(), key=lambda member: (member.role, member.service_id)))
        return self._in_order

    def live(self, role: Role.ValueType) -> list[Member]:
        """Members of a role that are not lost, by name."""
        live = [member for member in self._of(role) if not member.lost]
        return sorted(live, key=lambda member: member.service_id)

    def __len__(self) -> int:
        """Members, the lost included."""
        return len(self._members)

    def any_live(self, role: Role.ValueType) -> bool:
        """Whether a member of a role is not lost."""
        return any(not member.lost for member in self._of(role))

    def silence(self, role: Role.ValueType, now: float) -> float | None:
        """Seconds since a member of a role was last heard, 0 where one is not lost; None where there is no member."""
        return min((now - member.seen_at if member.lost else 0.0 for member in self._of(role)), default=None)

    def of_role(self, role: Role.ValueType) -> list[Member]:
        """Members of a role, the lost included, in the order of their first registration."""
        return list(self._of(role))

    def _of(self, role: Role.ValueType) -> Iterable[Member]:
        return self._roles.get(role, {}).values()

    def holder_of(self, role: Role.ValueType) -> Member | None:
        """Who has the place of a role that has one, lost or not."""
        return next(iter(self._of(role)), None)

    def only(self, role: Role.ValueType) -> Member | None:
        """The live member of a role that has one place (learner, replay buffer): the one heard from last."""
        live = [member for member in self._of(role) if not member.lost]
        return max(live, key=lambda member: member.seen_at, default=None)
