"""What happens by the clock: members and leases lapse, the disk is looked at, the ledger and the log are compared."""

import asyncio
from dataclasses import dataclass

import structlog

from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.channels import Channels
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.fault_reports import FaultReports
from areal_mesh.controller.faults import FaultKind, Hold
from areal_mesh.controller.member import Member
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.prompts import PromptFile
from areal_mesh.controller.publish.task import Publisher
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.room import LedgerFull, LedgerRoom
from areal_mesh.controller.run import Run
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings import ControllerSettings
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import common_pb2, replay_pb2_grpc

_LOG = structlog.get_logger("controller")
_STATISTICS_SECONDS = 2.0


@dataclass(frozen=True)
class TimeKeeper:
    """Finds what lapsed, and notes that the controller lives."""

    run: Run
    roster: Roster
    publisher: Publisher
    faults: FaultReports
    changes: Changes
    clock: Clock
    room: LedgerRoom
    prompts: PromptFile
    settings: ControllerSettings
    ending: asyncio.Event

    async def work(self) -> None:
        """Looks twice a heartbeat, until the run's end.

        Raises:
            StartupError: the prompt file is another one now.
        """
        awaited = False
        while not await wait_until(self.ending, self.settings.heartbeat_seconds / 2):
            if self.prompts.fault is not None:
                raise StartupError(str(self.prompts.fault)) from self.prompts.fault
            self.faults.put("controller", FaultKind.DISK, self.room.check(), Hold.ADMISSION)
            if awaited != self.publisher.awaits_generator:
                awaited = not awaited
                self.changes.notify(Change.PUBLISHES)
            self._lose_silent_members()
            try:
                self._note_time()
            except LedgerFull as error:
                # What lapsed lapses again at the next look, when the disk may have room.
                _LOG.warning("time is not noted", cause=error.message)

    def _lose_silent_members(self) -> None:
        lost = self.roster.expire(self.clock.monotonic())
        for member in lost:
            _LOG.warning("lost: no heartbeat within its lease", member=member.service_id)
            self.faults.put(member.service_id, FaultKind.SAID)
        if lost:
            self.changes.notify(Change.MEMBERS)

    def _note_time(self) -> None:
        """Notes in the ledger that the controller lives, whose leases lapsed, and whose holder is lost."""
        self.run.note_alive()
        freed = [
            row
            for member in self.roster.all()
            if member.lost
            for row in self.run.groups.free(member.key, "its generator was lost")
        ]
        lapsed = self.run.groups.expire()
        if lapsed:
            _LOG.warning("leases lapsed", groups=len(lapsed))
        if freed or lapsed:
            self.changes.notify(Change.PLACES)


@dataclass
class ReplayKeeper:
    """Keeps the ledger and the replay buffer of one mind, its statistics fresh, and no channel longer than its member.

    Args:
        compare_now: whether there is a reason to compare groups before it is time to.
    """

    roster: Roster
    replay: ReplayLink
    publisher: Publisher
    channels: Channels
    faults: FaultReports
    changes: Changes
    clock: Clock
    settings: ControllerSettings
    ending: asyncio.Event
    compare_now: bool = False

    def joined(self, member: Member) -> None:
        """Takes in a member that registered: the replay buffer and the learner are reasons to compare groups."""
        if member.role == common_pb2.ROLE_REPLAY:
            # Its address may be new.
            self.replay.stub = replay_pb2_grpc.ReplayServiceStub(self.channels.to(member.address))
        self.compare_now |= member.role in (common_pb2.ROLE_REPLAY, common_pb2.ROLE_LEARNER)

    async def work(self) -> None:
        """Compares groups when there is a reason to and every lease time besides, until the run's end."""
        compared = self.clock.monotonic()
        while not self.ending.is_set():
            await self.changes.until(
                lambda: self.ending.is_set() or self.compare_now, _STATISTICS_SECONDS, Change.MEMBERS, Change.STATE
            )
            now = self.clock.monotonic()
            if self.compare_now or now - compared > self.settings.lease_seconds:
                self.compare_now, compared = False, now
                if await self.replay.compare():
                    self.changes.notify(Change.PLACES)
            fault = await self.replay.refresh_statistics()
            if fault is not None:
                self.faults.put("replay", FaultKind.LOG, fault, Hold.STEPS)
            self.changes.notify()
            await self._close_unused_channels()

    async def _close_unused_channels(self) -> None:
        """Closes them between the calls of `work` and outside publishes: closing a channel cancels the calls on it."""
        if self.publisher.busy:
            return
        members = list(self.roster.all())
        if not any(member.role == common_pb2.ROLE_REPLAY for member in members):
            self.replay.stub = None
        await self.channels.close_all_but({member.address for member in members})
