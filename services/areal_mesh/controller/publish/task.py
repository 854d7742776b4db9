"""The publisher: one task that carries each version to the generators that lack it. One publish at a time.

It holds nothing that leases need, so generation goes on. Whoever changes what it depends on (a commit, a registration,
a lost member) notifies `Changes`; it then asks `Demand` again.
"""

import uuid
from collections.abc import Callable

import grpc.aio
import structlog

from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.member import Member
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.publish.attempt import AttemptResult, Ends, TransferPlan, transfer_weights
from areal_mesh.controller.publish.demand import Demand
from areal_mesh.controller.publish.groups import Groups
from areal_mesh.controller.publish.policy import Cause, Failure, GeneratorWeights, blamed
from areal_mesh.controller.records import PublishRow
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.room import LedgerFull
from areal_mesh.controller.run import Run
from areal_mesh.runtime.settings import WeightSettings
from areal_mesh.v1 import generator_pb2_grpc, learner_pb2_grpc

_LOG = structlog.get_logger("publisher")
SETTLING = (Change.MEMBERS, Change.STEPS, Change.STATE, Change.PUBLISHES)
"""What whether there is something to publish depends on."""
_IDLE_SECONDS = 5.0  # a look without a notification: who is left out by then may come back


class Publisher:
    """Publishes the run's versions.

    Args:
        channel_to: opens (or gives again) the channel to an address.
        transfer_key: by what members obey this life's transfers.
        held: whether a generator keeps the version that it has for now.
    """

    def __init__(
        self,
        run: Run,
        roster: Roster,
        replay: ReplayLink,
        changes: Changes,
        clock: Clock,
        settings: WeightSettings,
        lease_seconds: float,
        channel_to: Callable[[str], grpc.aio.Channel],
        transfer_key: bytes,
        held: Callable[[str], bool],
    ) -> None:
        self._run = run
        self._roster = roster
        self._replay = replay
        self._changes = changes
        self._clock = clock
        self._settings = settings
        self._channel_to = channel_to
        self._transfer_key = transfer_key
        self._groups = Groups(uuid.uuid4().hex[:12])
        self._demand = Demand(run, roster, clock, settings, lease_seconds, held)
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether a publish is in progress."""
        return self._busy

    @property
    def settled(self) -> bool:
        """Whether nothing is being published, and nothing will be soon: published, not due, or nobody to publish to."""
        return not self._busy and not self._demand.has_work and not self.awaits_generator

    @property
    def awaits_generator(self) -> bool:
        """Whether a version is due, and a generator that lacks it is away since a short while only."""
        return self._demand.awaits_generator

    def waits_for(self, member: Member) -> str:
        """What keeps weights from a generator that is to have them; empty where nothing does."""
        return self._demand.waits_for(member)

    def learner_committed(self, learner: str) -> None:
        """Takes the learner in again: a failure before, such as weights that were moving, counts no more."""
        self._demand.forgive(learner)

    async def work(self) -> None:
        """Publishes until it is cancelled."""
        while True:
            try:
                await self._turn()
            except LedgerFull as error:
                _LOG.warning("a publish is not recorded, and made again once the disk has room", cause=error.message)
                await self._changes.until(lambda: False, _IDLE_SECONDS)

    async def _turn(self) -> None:
        """Publishes once where somebody lacks a version; waits for that otherwise."""
        self._record_unrecorded()
        if not self._demand.receivers():
            wait = self._demand.next_return()
            seconds = min(wait or _IDLE_SECONDS, _IDLE_SECONDS)
            await self._changes.until(lambda: self._demand.has_work, seconds, *SETTLING)
            return
        self._busy = True
        try:
            await self._publish()
        finally:
            self._busy = False
            self._changes.notify(Change.PUBLISHES)

    def _record_unrecorded(self) -> None:
        version = self._demand.unrecorded_version()
        if version is None:
            return
        members = tuple(generator.key for generator in self._demand.generators() if generator.version == version)
        _LOG.info("generators hold a version whose publish was not recorded", version=version)
        self._run.published(PublishRow(version, self._clock.unix(), 0.0, 0.0, 0.0, 0, members, "unchecked"))
        self._changes.notify(Change.PUBLISHES)

    async def _publish(self) -> None:
        held = self._demand.versions().held
        if held is not None and await self._replay.evict_stale(min(held, self._run.version)):
            self._changes.notify(Change.PLACES)
        # Members may have come and gone meanwhile.
        learner, targets = self._demand.learner(), sorted(self._demand.receivers(), key=lambda target: target.key)
        if learner is None or not targets:
            return
        version = min(learner.policy_version, self._run.version)
        group_id = self._groups.group_for(learner.key, targets)
        plan = TransferPlan(version, group_id, targets, self._settings, self._committed)
        result = await transfer_weights(self._ends(learner, targets), plan)
        if result.failures:
            self._groups.broke()
        self._record(result, learner.key)
        self._note_failures(result)

    async def _committed(self, version: int) -> bool:
        """Waits for a commit: the learner may hold a version whose commit is on its way; generators get it after."""
        return await self._changes.until(
            lambda: self._run.version >= version, self._settings.prepare_seconds, Change.STEPS
        )

    def _ends(self, learner: Member, targets: list[GeneratorWeights]) -> Ends:
        stubs: dict[str, generator_pb2_grpc.GeneratorServiceAsyncStub] = {}
        for target in targets:
            member = self._roster.find(target.key)
            if member is not None:
                stubs[target.key] = generator_pb2_grpc.GeneratorServiceStub(self._channel_to(member.address))
        stub = learner_pb2_grpc.LearnerServiceStub(self._channel_to(learner.address))
        return Ends(self._transfer_key, learner.key, stub, stubs)

    def _record(self, result: AttemptResult, learner: str) -> None:
        """Writes a publish down, and then counts it: on a full disk it is made again."""
        if result.holders:
            row = PublishRow(
                policy_version=result.version,
                finished_at=self._clock.unix(),
                pause=result.pause,
                transfer=result.transfer,
                resume=result.resume,
                bytes=result.bytes,
                members=result.holders,
                checksums="agreed" if self._settings.compares_digests else "unchecked",
            )
            self._run.published(row)
            _LOG.info(
                "published",
                version=result.version,
                members=len(result.holders),
                epoch=self._groups.epoch,
                pause=round(result.pause, 4),
                transfer=round(result.transfer, 4),
                resume=round(result.resume, 4),
            )
        self._demand.published(result.version, result.holders, learner)

    def _note_failures(self, result: AttemptResult) -> None:
        """Leaves out of the next attempt whom `Demand` says, and quarantines those whose digests differ."""
        guilty = blamed(result.failures)
        for failure in result.failures:
            if failure.cause is Cause.CHECKSUMS:
                self._quarantine(failure, result.version)
                continue
            _LOG.warning(
                "publish failed at a member",
                version=result.version,
                member=failure.key,
                state=failure.state,
                cause=failure.cause.value,
                message=failure.message,
            )
            seconds = self._demand.failed(failure, failure.key in guilty)
            if seconds is not None:
                _LOG.warning("left out of publishes", member=failure.key, seconds=seconds)

    def _quarantine(self, failure: Failure, version: int) -> None:
        key, reason = failure.key, f"its weights of version {version} differ from the learner's"
        _LOG.error(
            "weights differ from the learner's: no lease for this generator", member=key, difference=failure.message
        )
        self._run.groups.free(key, reason)
        member = self._roster.find(key)
        if member is not None:
            member.quarantined = True
            member.publish_failure = f"{reason}: {failure.message}"
