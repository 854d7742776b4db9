"""The publisher: one task that carries each version to the generators that lack it. One publish at a time.

It holds nothing that leases need, so generation goes on. Whoever changes what it depends on (a commit, a registration,
a lost member) notifies `Changes`; it then asks `publishing.receivers` again.
"""

from collections.abc import Callable

import grpc.aio
import structlog

from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.member import Member
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.publish.attempt import AttemptResult, Ends, TransferPlan, transfer_weights
from areal_mesh.controller.publish.policy import (
    Backoff,
    Cause,
    GeneratorWeights,
    Versions,
    blamed,
    lacks,
    receivers,
    unrecorded_version,
)
from areal_mesh.controller.records import PublishRow
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.room import LedgerFull
from areal_mesh.controller.run import Run
from areal_mesh.runtime.identity import role_name
from areal_mesh.runtime.settings import WeightSettings
from areal_mesh.v1 import common_pb2, generator_pb2_grpc, learner_pb2_grpc

_LOG = structlog.get_logger("publisher")
SETTLING = (Change.MEMBERS, Change.STEPS, Change.STATE, Change.PUBLISHES)
"""What whether there is something to publish depends on."""
_IDLE_SECONDS = 5.0  # a look without a notification: what rests by then may come back


class Publisher:
    """Publishes the run's versions.

    Args:
        channel_to: opens (or gives again) the channel to an address.
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
    ) -> None:
        self._run = run
        self._roster = roster
        self._replay = replay
        self._changes = changes
        self._clock = clock
        self._settings = settings
        self._lease_seconds = lease_seconds
        self._channel_to = channel_to
        self._backoff = Backoff()
        self._failed_in_a_row: dict[str, int] = {}
        self._busy = False
        self._began = clock.monotonic()
        self._known = run.ledger.services(role_name(common_pb2.ROLE_GENERATOR))
        self._verified = {
            key: row.policy_version
            # Whoever holds less is given the learner's version anyway.
            for row in run.ledger.publishes_of(run.published_version)
            if row.checksums == "agreed"
            for key in row.members
        }

    @property
    def busy(self) -> bool:
        """Whether a publish is in progress."""
        return self._busy

    @property
    def settled(self) -> bool:
        """Whether nothing is being published, and nothing will be soon: published, not due, or nobody to publish to."""
        return not self._busy and not self._has_work() and not self.awaits_generator

    def waits_for(self, member: Member) -> str:
        """What keeps weights from a generator that is to have them; empty where nothing does."""
        if member.role != common_pb2.ROLE_GENERATOR or member.lost:
            return ""
        if member.publish_failure:
            return member.publish_failure
        learner = self._roster.only(common_pb2.ROLE_LEARNER)
        if member.policy_version >= 0:
            return ""
        if learner is None:
            return "no learner has registered yet"
        if learner.publish_failure:
            return f"the learner sends no weights: {learner.publish_failure}"
        return ""

    @property
    def awaits_generator(self) -> bool:
        """Whether a version is due while every generator that lacks it is away, one of them since a short while only.

        A killed generator comes back within the time of a publish; waiting for it keeps every version published. So
        does waiting, when the controller itself was restarted, for those that have not registered again.
        """
        learner = self._learner()
        if learner is None or self._run.stopping or not self._run.publish_due() or self._receivers():
            return False
        now = self._clock.monotonic()
        if now - self._began < self._lease_seconds and not self._known <= self._roster.met:
            return True
        patience = self._settings.prepare_seconds + self._settings.transfer_seconds
        return any(
            _takes_weights(member)
            and lacks(self._weights_of(member), learner.policy_version)
            and now - member.seen_at < patience
            for member in self._roster.of_role(common_pb2.ROLE_GENERATOR)
        )

    def _has_work(self) -> bool:
        return bool(self._receivers()) or self._unrecorded_version() is not None

    def weights_stand_still(self, learner: str) -> None:
        """The learner has committed and waits: a failure before, such as weights that were moving, counts no more."""
        self._backoff.succeeded(learner)
        self._failed_in_a_row.pop(learner, None)

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
        if not self._receivers():
            wait = self._backoff.next_return(self._clock.monotonic())
            await self._changes.until(self._has_work, min(wait or _IDLE_SECONDS, _IDLE_SECONDS), *SETTLING)
            return
        self._busy = True
        try:
            await self._publish()
        finally:
            self._busy = False
            self._changes.notify(Change.PUBLISHES)

    def _learner(self) -> Member | None:
        learner = self._roster.only(common_pb2.ROLE_LEARNER)
        if learner is None or self._backoff.left_out(learner.key, self._clock.monotonic()):
            return None
        return learner

    def _generators(self) -> list[GeneratorWeights]:
        now = self._clock.monotonic()
        return [
            self._weights_of(member)
            for member in self._roster.live(common_pb2.ROLE_GENERATOR)
            if _takes_weights(member) and not self._backoff.left_out(member.key, now)
        ]

    def _weights_of(self, member: Member) -> GeneratorWeights:
        """A generator says its version once the weights are in; with `always` it counts once digests have agreed."""
        version = member.policy_version
        verified = not self._settings.compares_digests or version < 0 or self._verified.get(member.key) == version
        return GeneratorWeights(member.key, version, member.transfer_ranks, verified)

    def _versions(self) -> Versions:
        learner = self._learner()
        held = None if learner is None or learner.policy_version < 0 else learner.policy_version
        return Versions(self._run.version, self._run.published_version, held, self._run.publish_due())

    def _receivers(self) -> list[GeneratorWeights]:
        return receivers(self._versions(), self._generators())

    def _unrecorded_version(self) -> int | None:
        if self._settings.compares_digests or self._receivers():
            return None
        return unrecorded_version(self._versions(), self._generators())

    def _record_unrecorded(self) -> None:
        version = self._unrecorded_version()
        if version is None:
            return
        members = tuple(generator.key for generator in self._generators() if generator.version == version)
        _LOG.info("generators hold a version whose publish was not recorded", policy_version=version)
        self._run.published(PublishRow(version, self._clock.unix(), 0.0, 0.0, 0.0, 0, members, "unchecked"))
        self._changes.notify(Change.PUBLISHES)

    async def _publish(self) -> None:
        held = self._versions().held
        if held is not None and await self._replay.evict_stale(min(held, self._run.version)):
            self._changes.notify(Change.PLACES)
        # Members may have come and gone meanwhile.
        learner, targets = self._learner(), self._receivers()
        if learner is None or not targets:
            return
        version = min(learner.policy_version, self._run.version)
        plan = TransferPlan(version, targets, self._settings, self._committed)
        result = await transfer_weights(self._ends(learner, targets), plan)
        self._record(result)
        self._leave_out(result)

    async def _committed(self, version: int) -> bool:
        """The learner may hold a version whose commit is still on its way; generators get it once it is committed."""
        return await self._changes.until(
            lambda: self._run.version >= version, self._settings.prepare_seconds, Change.STEPS
        )

    def _ends(self, learner: Member, targets: list[GeneratorWeights]) -> Ends:
        stubs: dict[str, generator_pb2_grpc.GeneratorServiceAsyncStub] = {}
        for target in targets:
            member = self._roster.find(target.key)
            if member is not None:
                stubs[target.key] = generator_pb2_grpc.GeneratorServiceStub(self._channel_to(member.address))
        return Ends(learner.key, learner_pb2_grpc.LearnerServiceStub(self._channel_to(learner.address)), stubs)

    def _record(self, result: AttemptResult) -> None:
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
                policy_version=result.version,
                members=len(result.holders),
                pause=round(result.pause, 4),
                transfer=round(result.transfer, 4),
                resume=round(result.resume, 4),
            )
        for key in result.holders:
            self._roster.holds(key, result.version)
            if self._settings.compares_digests:
                self._verified[key] = result.version
            self._backoff.succeeded(key)
            self._failed_in_a_row.pop(key, None)

    def _leave_out(self, result: AttemptResult) -> None:
        """Whom to leave out of the next attempt: the blamed, and after `weights.attempts` everyone who failed."""
        guilty = blamed(result.failures)
        for failure in result.failures:
            if failure.cause is Cause.CHECKSUMS:
                self._quarantine(failure.key, result.version, failure.message)
                continue
            self._failed_in_a_row[failure.key] = self._failed_in_a_row.get(failure.key, 0) + 1
            self._note(failure.key, f"{failure.state} failed, {failure.cause.value}: {failure.message}")
            _LOG.warning(
                "publish failed at a member",
                policy_version=result.version,
                member=failure.key,
                state=failure.state,
                cause=failure.cause.value,
                message=failure.message,
            )
            if failure.key in guilty or self._failed_in_a_row[failure.key] >= self._settings.attempts:
                seconds = self._backoff.failed(failure.key, self._clock.monotonic())
                self._failed_in_a_row.pop(failure.key, None)
                _LOG.warning("left out of publishes", member=failure.key, seconds=seconds)

    def _note(self, key: str, failure: str) -> None:
        member = self._roster.find(key)
        if member is not None:
            member.publish_failure = failure

    def _quarantine(self, key: str, version: int, difference: str) -> None:
        _LOG.error("weights differ from the learner's: no lease for this generator", member=key, difference=difference)
        self._run.groups.free(key, f"its weights of version {version} differ from the learner's")
        member = self._roster.find(key)
        if member is not None:
            member.quarantined = True
            member.publish_failure = f"its weights of version {version} differ from the learner's: {difference}"


def _takes_weights(member: Member) -> bool:
    return member.transfer_ranks > 0 and not member.quarantined and member.state != common_pb2.SERVICE_STATE_DRAINING
