"""What a person has to see to, and what the run waits with until it is gone. Pure; time comes in as an argument.

A fault is known by the service it is of and by its kind: what a service says of itself, that it cannot start, that its
log and the ledger disagree. Of one kind there is one at a time; said again it keeps its beginning.
"""

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum


class Hold(IntEnum):
    """What waits for a fault to go: nothing, leases, or leases and steps."""

    NOTHING = 0
    ADMISSION = 1
    STEPS = 2


class FaultKind(StrEnum):
    """Who found it, and so what takes it back."""

    SAID = "said"
    """The service says so in its heartbeats."""
    START = "start"
    """The service could not start; its next registration takes it back."""
    LOG = "log"
    """The controller compared the replay log with its ledger."""
    DISK = "disk"
    """The controller's own disk."""
    PLAIN_TEXT = "plain_text"
    """The run speaks plain text where others may listen; stays as long as the run."""
    MISMATCH = "mismatch"
    """A step of the learner was over `learner.mismatch_alarm`; the next one that is not takes it back."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong. `text` says what, where, and what would do; `since` is monotonic seconds."""

    service_id: str
    kind: FaultKind
    text: str
    since: float
    hold: Hold


MOST_FAULTS = 256
"""Kept at once; older ones make room. A service that cannot start says so before it is a member."""


class Faults:
    """The faults of a run as it stands."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, FaultKind], Fault] = {}

    def put(self, service_id: str, kind: FaultKind, text: str, hold: Hold, now: float) -> bool:
        """Takes a fault in, or takes it back where `text` is empty; returns whether anything changed."""
        key = (service_id, kind)
        before = self._faults.get(key)
        if not text:
            return self._faults.pop(key, None) is not None
        fault = Fault(service_id, kind, text, now, hold)
        self._faults[key] = fault if before is None else replace(fault, since=before.since)
        while len(self._faults) > MOST_FAULTS:
            del self._faults[next(iter(self._faults))]
        return self._faults[key] != before

    def all(self) -> list[Fault]:
        """Every fault, the oldest first."""
        return sorted(self._faults.values(), key=lambda fault: fault.since)

    @property
    def hold(self) -> Hold:
        """What waits."""
        return max((fault.hold for fault in self._faults.values()), default=Hold.NOTHING)
