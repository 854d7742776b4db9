"""The end of a run, the decisions: who is told to leave, who is still needed, how long the controller stays. Pure.

Members leave in an order in which each finishes what it holds:

1. generators, once the last version is published to them, or nobody is left who would, and evaluated, if it is to be;
2. verifiers, once no generator lives: they grade for them;
3. the learner, once it holds the last version; it writes its last checkpoint and export before it goes;
4. the replay buffer, once the learner stays no more and no generator lives: both call it.

A learner that is lost is waited for as long as it may take to come back: killed while it writes its last checkpoint or
export, it starts again, and repeats the steps since. A run that was stopped waits for nobody who is lost, and for no
version. The controller goes last.
"""

from dataclasses import dataclass
from enum import Enum

from areal_mesh.v1 import common_pb2
from areal_mesh.v1.common_pb2 import Role

# A learner loads the model and a checkpoint, and repeats steps. As long as members wait for a controller that is away.
LEARNER_RETURN_SECONDS = 120.0


@dataclass(frozen=True)
class Ending:
    """How the run and its members stand, as far as the end of the run depends on it."""

    over: bool
    """Nothing new starts: the last step is committed, or somebody asked to stop."""
    stopping: bool
    """Somebody asked to stop."""
    version: int
    """The last step committed, and the policy version that it made."""
    publish_due: bool
    """That version has to be published."""
    learner_gone: bool
    """A learner has left since the run is over: its last checkpoint and export are written."""
    generators_live: bool
    """A generator is a member and is not lost."""
    learner_silence: float | None
    """Seconds since the learner was last heard, 0 where it is not lost; None where none is a member."""
    evaluating: bool = False
    """A version is evaluated, or is to be while generators hold it."""

    @property
    def learner_stays(self) -> bool:
        """Whether the learner lives, or was lost and is waited for."""
        patience = 0.0 if self.stopping else LEARNER_RETURN_SECONDS
        return self.learner_silence is not None and self.learner_silence <= patience

    @property
    def generators_stay(self) -> bool:
        """Whether generators are to stay for the last version, or for its evaluation."""
        return not self.stopping and (self.evaluating or (self.publish_due and self.learner_stays))


def learner_done(over: bool, stopping: bool, version: int, held: int) -> bool:
    """Whether a learner that holds version `held` has no step left to take, of `version` in all."""
    return over and (stopping or held >= version)


def drains(ending: Ending, role: Role.ValueType, held: int) -> bool:
    """Whether a member is told to leave.

    Args:
        held: its policy version.
    """
    if not ending.over:
        return False
    if role == common_pb2.ROLE_VERIFIER:
        return not (ending.generators_live or ending.evaluating)
    if role == common_pb2.ROLE_REPLAY:
        return not (ending.learner_stays or ending.generators_live)
    if role == common_pb2.ROLE_LEARNER:
        return learner_done(ending.over, ending.stopping, ending.version, held)
    return not ending.generators_stay


def needed(ending: Ending, role: Role.ValueType) -> bool:
    """Whether a service that starts now has something left to do."""
    if not ending.over:
        return True
    if role == common_pb2.ROLE_VERIFIER:
        return ending.generators_live
    if role == common_pb2.ROLE_REPLAY:
        return not ending.learner_gone or ending.generators_live
    if role == common_pb2.ROLE_LEARNER:
        return not ending.learner_gone
    return ending.generators_stay


class Stay(Enum):
    """What the controller does itself."""

    STAYS = "stays"
    LEAVES = "leaves"
    LEAVES_MEMBERS = "leaves members behind"


class LastToLeave:
    """How long the controller stays: until nobody is left and nobody is on the way, or their time to leave is over.

    Args:
        drain_seconds: time that members have, counted while neither the run nor the learner needs any more.
        now: monotonic seconds.
    """

    def __init__(self, drain_seconds: float, now: float) -> None:
        self._drain_seconds = drain_seconds
        self._needed_at = now

    def decide(self, ending: Ending, members: int, awaited: int, now: float) -> Stay:
        """What to do now.

        Args:
            members: services that are members, the lost included.
            awaited: services that may be on their way, see `arrivals`: they are to be told of the end.
        """
        # The learner has all the time that it lives, and that of a restart; an evaluation has its own deadline.
        if not ending.over or ending.learner_stays or ending.evaluating:
            self._needed_at = now
        if ending.over and not members and not awaited:
            return Stay.LEAVES
        return Stay.LEAVES_MEMBERS if now - self._needed_at > self._drain_seconds else Stay.STAYS
