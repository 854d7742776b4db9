"""The end of a run, carried out: asks `ending` what the run and its members make of it, and waits for them to leave."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from areal_mesh.controller.arrivals import Arrivals
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.ending import Ending, LastToLeave, Stay, drains, needed
from areal_mesh.controller.member import Member
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.run import Run
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import common_pb2
from areal_mesh.v1.common_pb2 import Role

_LOG = structlog.get_logger("controller")


@dataclass(frozen=True)
class Departures:
    """Who leaves, and when the controller does."""

    run: Run
    roster: Roster
    arrivals: Arrivals
    clock: Clock
    evaluating: Callable[[], bool]
    """Whether a version is evaluated, or is to be now."""

    def drains(self, member: Member) -> bool:
        """Whether a member is told to leave with its next heartbeat's answer."""
        # First what costs nothing: each heartbeat asks, and looking at the members takes time for each.
        return self.run.over and drains(self._ending(), member.role, member.policy_version)

    def needed(self, role: Role.ValueType) -> bool:
        """Whether a service that starts now has something left to do."""
        return not self.run.over or needed(self._ending(), role)

    async def wait(self, draining: asyncio.Event, drain_seconds: float, look_seconds: float) -> None:
        """Waits until `draining` is set, the run is hopeless, or it is over and its members left or had time to.

        Args:
            look_seconds: time between two looks.
        """
        last = LastToLeave(drain_seconds, self.clock.monotonic())
        while not draining.is_set() and not self.run.hopeless:
            await wait_until(draining, look_seconds)
            members = {member.service_id for member in self.roster.all()}
            awaited = self.arrivals.awaited
            stay = last.decide(self._ending(), len(members), len(awaited), self.clock.monotonic())
            if stay is Stay.LEAVES_MEMBERS:
                _LOG.warning("members did not leave in time", members=sorted(members | awaited))
            if stay is not Stay.STAYS:
                return

    def _ending(self) -> Ending:
        return Ending(
            over=self.run.over,
            stopping=self.run.stopping,
            version=self.run.version,
            publish_due=self.run.publish_due(),
            learner_gone=self.run.learner_gone,
            generators_live=self.roster.any_live(common_pb2.ROLE_GENERATOR),
            learner_silence=self.roster.silence(common_pb2.ROLE_LEARNER, self.clock.monotonic()),
            evaluating=self.evaluating(),
        )
