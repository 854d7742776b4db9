"""What becomes of one group, from its first lease to its end: a row in, the next row out. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from areal_mesh.controller.records import GroupRow, GroupState
from areal_mesh.runtime.errors import failed_precondition

_ENDED_FOR_A_REASON = (GroupState.STALE, GroupState.FILTERED, GroupState.FAILED)


@dataclass(frozen=True)
class StoredFigures:
    """What a generator says of a stored group; `tokens` are response tokens of all its responses."""

    oldest_version: int
    tokens: int


@dataclass(frozen=True)
class LeaseStart:
    """What leases begin with: the stage that new groups keep, and the policy version published at the time.

    `prompt_id_of` gives the id of the prompt that a new group's sequence number names.
    """

    stage: int
    published_version: int
    prompt_id_of: Callable[[int], str]


def first_leased(sequence: int, holder: str, start: LeaseStart, now: float) -> GroupRow:
    """The group of a sequence number that was never leased before."""
    return GroupRow(
        group_id=f"g{sequence:08d}",
        sequence=sequence,
        prompt_id=start.prompt_id_of(sequence),
        stage=start.stage,
        state=GroupState.RUNNING,
        holder=holder,
        leased_at=now,
        lease_version=start.published_version,
    )


def leased_again(row: GroupRow, holder: str, start: LeaseStart, now: float) -> GroupRow:
    """A group that waited to be issued again."""
    return replace(row, holder=holder, leased_at=now, lease_version=start.published_version)


def stored(row: GroupRow, figures: StoredFigures, now: float) -> GroupRow:
    """A group that the replay buffer has; of one that was stored before, or ended, only the figures are new."""
    # A generator may be late to say so: why the group has ended with nothing to train on stays.
    reason = row.reason if row.state in _ENDED_FOR_A_REASON else ""
    described = replace(row, oldest_version=figures.oldest_version, tokens=figures.tokens, reason=reason)
    if row.state is not GroupState.RUNNING:
        return described
    return replace(described, state=GroupState.STORED, holder="", stored_at=now)


def found_stored(row: GroupRow, oldest_version: int) -> GroupRow:
    """A running group that the replay buffer has, and nobody said so."""
    return replace(
        row,
        state=GroupState.STORED,
        holder="",
        oldest_version=oldest_version,
        reason="found in the replay buffer",
    )


def lost(row: GroupRow) -> GroupRow:
    """A stored group that the replay buffer has no more: it waits to be issued again, at no cost in attempts."""
    return replace(row, state=GroupState.RUNNING, stored_at=None, reason="lost by the replay buffer")


def failed(row: GroupRow, attempts: int, reason: str) -> GroupRow:
    """A group whose lease came to nothing: it waits to be issued again, or has failed after so many attempts."""
    attempt = row.attempt + 1
    state = GroupState.FAILED if attempt >= attempts else GroupState.RUNNING
    return replace(row, state=state, holder="", attempt=attempt, reason=reason)


def ended(row: GroupRow, state: GroupState, reason: str, tokens: int = 0) -> GroupRow:
    """A group that ended with nothing to train on; `tokens` are its response tokens, 0 where nobody says."""
    return replace(row, state=state, holder="", reason=reason, tokens=tokens or row.tokens)


def trained(row: GroupRow, step: int, tokens: int) -> GroupRow:
    """A group of a committed batch.

    Args:
        tokens: its response tokens as the learner has them, for a group whose generator had no time to say.

    Raises:
        MeshError: FAILED_PRECONDITION, another step trained on it.
    """
    if row.state is GroupState.TRAINED:
        raise failed_precondition(f"{row.group_id} was trained on in step {row.step}; no group is trained twice")
    return replace(row, state=GroupState.TRAINED, holder="", step=step, tokens=row.tokens or tokens)
