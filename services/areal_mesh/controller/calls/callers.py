"""Who calls: the member that a request names."""

from dataclasses import dataclass, field
from typing import Protocol

from areal_mesh.controller.calls.waiting_calls import WaitingCalls
from areal_mesh.controller.changes import Change, Changes, arrival
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.member import Member, holder_key
from areal_mesh.controller.membership import Roster


class MemberRequest(Protocol):
    """What a member says of itself in each call."""

    @property
    def service_id(self) -> str: ...
    @property
    def incarnation(self) -> str: ...


@dataclass(frozen=True)
class Callers:
    """Finds the members that call.

    Args:
        patience_seconds: how long a caller that is no member is waited for.
    """

    roster: Roster
    changes: Changes
    clock: Clock
    patience_seconds: float
    strangers: WaitingCalls = field(default_factory=WaitingCalls)
    """Calls of services that are not members, or not again yet, by their name."""

    async def wait_for(self, request: MemberRequest) -> Member:
        """The caller. After a restart of the controller, members register again with their next heartbeat.

        Raises:
            MeshError: as `of`; RESOURCE_EXHAUSTED, too many calls of it wait.
        """
        service_id, incarnation = request.service_id, request.incarnation
        if not self.roster.knows(service_id, incarnation):
            with self.strangers.one_more(service_id):
                await self.changes.until(
                    lambda: self.roster.knows(service_id, incarnation),
                    self.patience_seconds,
                    arrival(holder_key(service_id, incarnation)),
                )
        return self.of(request)

    def of(self, request: MemberRequest) -> Member:
        """The caller, which lives: others may wait for it if it was lost.

        Raises:
            MeshError: NOT_FOUND if it has to register (again), ABORTED if a newer life has replaced it.
        """
        known = self.roster.find(holder_key(request.service_id, request.incarnation))
        returns = known is not None and known.lost
        member = self.roster.speak(request.service_id, request.incarnation, self.clock.monotonic())
        if returns:
            self.changes.notify(Change.MEMBERS)
        return member
