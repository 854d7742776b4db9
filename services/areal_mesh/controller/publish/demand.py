"""What there is to publish, and to whom: the members and the run as they stand, put to the decisions of `policy`.

No I/O but the ledger's, read once; whoever publishes says how it went.
"""

from collections.abc import Callable, Sequence

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.member import Member
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.publish.policy import (
    Backoff,
    Failure,
    GeneratorWeights,
    Versions,
    lacks,
    receivers,
    unrecorded_version,
)
from areal_mesh.controller.run import Run
from areal_mesh.runtime.identity import role_name
from areal_mesh.runtime.settings import WeightSettings
from areal_mesh.v1 import common_pb2


class Demand:
    """Who lacks which version now, those left out after failures apart.

    Args:
        lease_seconds: how long generators of before this life of the controller may take to register again.
        held: whether a generator keeps the version that it has for now, for it is examined.
    """

    def __init__(
        self,
        run: Run,
        roster: Roster,
        clock: Clock,
        settings: WeightSettings,
        lease_seconds: float,
        held: Callable[[str], bool] = lambda key: False,
    ) -> None:
        self._run = run
        self._roster = roster
        self._clock = clock
        self._settings = settings
        self._lease_seconds = lease_seconds
        self._held = held
        self._backoff = Backoff()
        self._failed_in_a_row: dict[str, int] = {}
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
    def has_work(self) -> bool:
        """Whether somebody lacks a version, or a publish is to be recorded."""
        return bool(self.receivers()) or self.unrecorded_version() is not None

    def learner(self) -> Member | None:
        """The learner, unless it is lost or left out."""
        learner = self._roster.only(common_pb2.ROLE_LEARNER)
        if learner is None or self._backoff.left_out(learner.key, self._clock.monotonic()):
            return None
        return learner

    def generators(self) -> list[GeneratorWeights]:
        """The weights of the generators that could be published to."""
        now = self._clock.monotonic()
        return [
            self._weights_of(member)
            for member in self._roster.live(common_pb2.ROLE_GENERATOR)
            if _takes_weights(member) and not self._held(member.key) and not self._backoff.left_out(member.key, now)
        ]

    def _weights_of(self, member: Member) -> GeneratorWeights:
        """The version that a generator says it holds; with `always` it counts once digests have agreed."""
        version = member.policy_version
        verified = not self._settings.compares_digests or version < 0 or self._verified.get(member.key) == version
        return GeneratorWeights(member.key, version, member.transfer_ranks, verified)

    def versions(self) -> Versions:
        """Policy versions of the run and of the learner."""
        learner = self.learner()
        held = None if learner is None or learner.policy_version < 0 else learner.policy_version
        return Versions(self._run.version, self._run.published_version, held, self._run.publish_due())

    def receivers(self) -> list[GeneratorWeights]:
        """Generators that the learner's version should go to now."""
        return receivers(self.versions(), self.generators())

    def unrecorded_version(self) -> int | None:
        """A version that generators hold and no publish tells of; None if there is none."""
        if self._settings.compares_digests or self.receivers():
            return None
        return unrecorded_version(self.versions(), self.generators())

    @property
    def awaits_generator(self) -> bool:
        """Whether a version is due while every generator that lacks it is away, one of them since a short while only.

        A killed generator comes back within the time of a publish; waiting for it keeps every version published. So
        does waiting, when the controller itself was restarted, for those that have not registered again.
        """
        learner = self.learner()
        if learner is None or self._run.stopping or not self._run.publish_due() or self.receivers():
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

    def waits_for(self, member: Member) -> str:
        """What keeps weights from a generator that is to have them; empty where nothing does."""
        if member.role != common_pb2.ROLE_GENERATOR or member.lost:
            return ""
        if member.publish_failure:
            return member.publish_failure
        if member.policy_version >= 0:
            return ""
        learner = self._roster.only(common_pb2.ROLE_LEARNER)
        if learner is None:
            return "no learner has registered yet"
        return f"the learner sends no weights: {learner.publish_failure}" if learner.publish_failure else ""

    def next_return(self) -> float | None:
        """Seconds until the first of those left out may be tried again; None if nobody is."""
        return self._backoff.next_return(self._clock.monotonic())

    def published(self, version: int, holders: Sequence[str], learner: str) -> None:
        """Notes that generators were given a version by the learner, which is recorded."""
        for key in holders:
            self._roster.holds(key, version)
            if self._settings.compares_digests:
                self._verified[key] = version
            self.forgive(key)
        if holders:
            self.forgive(learner)

    def forgive(self, key: str) -> None:
        """Forgets a life's failures, and what is shown of the last one."""
        self._backoff.succeeded(key)
        self._failed_in_a_row.pop(key, None)
        member = self._roster.find(key)
        if member is not None:
            member.publish_failure = ""

    def failed(self, failure: Failure, guilty: bool) -> float | None:
        """Notes a failure; the guilty are left out, and after `weights.attempts` in a row everyone.

        Returns:
            The seconds that this life is left out; None where it is not.
        """
        key, member = failure.key, self._roster.find(failure.key)
        if member is not None:
            member.publish_failure = f"{failure.state} failed, {failure.cause.value}: {failure.message}"
        self._failed_in_a_row[key] = self._failed_in_a_row.get(key, 0) + 1
        if not guilty and self._failed_in_a_row[key] < self._settings.attempts:
            return None
        self._failed_in_a_row.pop(key)
        return self._backoff.failed(key, self._clock.monotonic())


def _takes_weights(member: Member) -> bool:
    return member.transfer_ranks > 0 and not member.quarantined and member.state != common_pb2.SERVICE_STATE_DRAINING
