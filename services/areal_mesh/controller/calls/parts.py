"""The parts of a running controller, and what every group of its calls needs of them."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from areal_mesh.controller.arrivals import Arrivals
from areal_mesh.controller.calls.waiting_calls import WaitingCalls
from areal_mesh.controller.changes import Change, Changes, arrival
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.lease_queue import LeaseQueue
from areal_mesh.controller.membership import Member, Roster, holder_key
from areal_mesh.controller.prompts import PromptFile
from areal_mesh.controller.publish.task import Publisher
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.run import Run
from areal_mesh.runtime.durations import from_duration
from areal_mesh.runtime.identity import RunIdentity
from areal_mesh.runtime.settings import RunSettings, StageSettings
from areal_mesh.v1 import common_pb2

_LONGEST_WAIT_SECONDS = 60.0
# A learner killed while it writes its last checkpoint or export starts again, loads the model and a checkpoint, and
# repeats the steps since. As long as members wait for a controller that is away.
_LEARNER_RETURN_SECONDS = 120.0


@dataclass
class Parts:
    """What the servicers work on."""

    settings: RunSettings
    identity: RunIdentity
    """The run that this controller serves."""
    run: Run
    roster: Roster
    arrivals: Arrivals
    changes: Changes
    leases: LeaseQueue
    clock: Clock
    prompts: PromptFile
    replay: ReplayLink
    publisher: Publisher
    joined: Callable[[Member], None]
    """Called when a member has registered, before it is answered."""
    lease_key: bytes
    """With what leases are sealed."""
    waiting: WaitingCalls = field(default_factory=WaitingCalls)
    """Long polls for a lease, by member's life."""
    strangers: WaitingCalls = field(default_factory=WaitingCalls)
    """Calls of services that are not members, or not again yet, by their name."""
    issued: dict[str, "OrderedDict[str, list[str]]"] = field(default_factory=dict)
    """Group ids by member's life and idempotency key."""

    @property
    def learner_stays(self) -> bool:
        """Whether the learner lives, or was lost and is to be waited for; a run that was stopped waits for none."""
        patience = 0.0 if self.run.stopping else _LEARNER_RETURN_SECONDS
        return self.roster.stays(common_pb2.ROLE_LEARNER, self.clock.monotonic(), patience)


class Calls:
    """A group of the controller's calls."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._run = parts.run
        self._roster = parts.roster
        self._changes = parts.changes
        self._settings = parts.settings.controller

    async def _member(self, service_id: str, incarnation: str) -> Member:
        """The caller. After a restart of the controller, members register again with their next heartbeat."""
        if not self._roster.knows(service_id, incarnation):
            with self._parts.strangers.one_more(service_id):
                await self._changes.until(
                    lambda: self._roster.knows(service_id, incarnation),
                    self._settings.lease_seconds,
                    arrival(holder_key(service_id, incarnation)),
                )
        return self._speak(service_id, incarnation)

    def _speak(self, service_id: str, incarnation: str) -> Member:
        """The caller, which lives: others may wait for it if it was lost."""
        known = self._roster.find(holder_key(service_id, incarnation))
        returns = known is not None and known.lost
        member = self._roster.speak(service_id, incarnation, self._parts.clock.monotonic())
        if returns:
            self._changes.notify(Change.MEMBERS)
        return member


def stage_message(plans: Sequence[StageSettings], index: int) -> common_pb2.Stage:
    """A stage as the contracts say it."""
    plan = plans[index]
    return common_pb2.Stage(index=index, name=plan.name, max_response_tokens=plan.max_response_tokens)


def wait_seconds(wait: Duration) -> float:
    """Seconds that a long poll may wait."""
    return min(from_duration(wait), _LONGEST_WAIT_SECONDS)
