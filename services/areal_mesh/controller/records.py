"""The vocabulary of the ledger: groups, steps, stages entered and publishes, as plain rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """What a run does. STARTING until the start weights are published."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    FINISHED = "finished"


class GroupState(StrEnum):
    """Where a group is. RUNNING and STORED are open; each other state is an end."""

    RUNNING = "running"
    """Leased to a generator, or waiting to be issued again."""
    STORED = "stored"
    TRAINED = "trained"
    STALE = "stale"
    FILTERED = "filtered"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether the group still has its end before it."""
        return self in (GroupState.RUNNING, GroupState.STORED)


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group, from its first lease to its end. Times are unix seconds."""

    group_id: str
    sequence: int
    """Order of the first lease in the run, from 0; it also names the prompt."""
    prompt_id: str
    stage: int
    """Stage in which the group began; its response limit stays that stage's."""
    state: GroupState
    holder: str = ""
    """Member that holds the lease, see `member.holder_key`; empty while it waits to be issued again."""
    attempt: int = 0
    """How often it was issued before and came to nothing; hand-backs do not count."""
    leased_at: float = 0.0
    stored_at: float | None = None
    """When its generator said that it is stored; None where nobody said so."""
    lease_version: int = -1
    """Published policy version when the lease was issued."""
    oldest_version: int | None = None
    """Oldest policy version among its tokens, once stored."""
    tokens: int = 0
    """Response tokens of the whole group, once stored."""
    step: int | None = None
    """The step that trained on it."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepRow:
    """One committed optimizer batch. `staleness`: groups of the batch by staleness."""

    step: int
    stage: int
    metrics: Mapping[str, float]
    staleness: Mapping[int, int]
    committed_at: float
    tokens: int
    """Response tokens trained on."""

    @property
    def policy_version(self) -> int:
        """The version the step made: versions count committed steps."""
        return self.step


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A stage that was entered: its first step, and why the one before it ended."""

    stage: int
    first_step: int
    entered_at: float
    reason: str


@dataclass(frozen=True, slots=True)
class PublishRow:
    """One publish that reached at least one generator. Durations in seconds, the longest over its members."""

    policy_version: int
    finished_at: float
    pause: float
    transfer: float
    resume: float
    bytes: int
    members: tuple[str, ...]
    checksums: str
    """`agreed`, or `unchecked` where the settings leave digests out."""


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """A version's evaluation on one suite. `figures`: those of `evaluation.scores.SuiteScore`, and `seconds`."""

    policy_version: int
    suite: str
    finished_at: float
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Groups by state. leased = trained + stale + filtered + failed + open."""

    running: int = 0
    """Leased to a generator, or waiting to be issued again."""
    stored: int = 0
    trained: int = 0
    stale: int = 0
    filtered: int = 0
    failed: int = 0

    @property
    def open(self) -> int:
        """Running, or stored and not yet trained on."""
        return self.running + self.stored

    @property
    def accepted(self) -> int:
        """Stored or trained: what the admission formula calls accepted."""
        return self.stored + self.trained

    @property
    def leased(self) -> int:
        """All groups ever leased."""
        return self.open + self.trained + self.stale + self.filtered + self.failed
