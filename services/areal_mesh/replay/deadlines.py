"""Drawing by deadline: which stored groups a step takes, and how many running ones it has to wait for first. Pure.

A group whose oldest token has version v can be trained by the steps up to v + max_staleness + 1, and each step trains
`batch_groups`. So for every version v a step has to take so many groups of v or older that the steps after it, up to
the last that may, can train the others. It takes these by order of lease, and fills the batch by order of lease.
Arrival decides nothing: what finishes first is what is short.

What a step has to take may still run. Then the draw is held until enough of it has come, or until the caller's
patience is over. While admission keeps its bound no class is ever larger than the steps left for it can train, so that
a draw that is always patient loses no group that is stored in the end.

What runs is known as of the controller's order of the step. While a draw is held others are leased, and they are due
before the groups of later publishes: a batch with a group younger than what was published at that order is not chosen,
the order is asked for anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from areal_mesh.replay.events import GroupSummary


@dataclass(frozen=True)
class DrawRequest:
    """What the draw of a step is to respect. `policy_version` is the learner's, `max_staleness` the bound."""

    step: int
    batch_groups: int
    policy_version: int
    max_staleness: int
    running: Mapping[str, int] = field(default_factory=dict)
    """Groups that may still be stored, with the oldest version that a token of theirs can have."""
    published_version: int | None = None
    """What generators served when `running` was true; groups leased since are of it or younger. None: not known."""

    @property
    def oldest_trainable(self) -> int:
        """The version whose groups this step alone can still train; older ones are stale."""
        return self.policy_version - self.max_staleness


@dataclass(frozen=True)
class Choice:
    """The batch in order, empty for none yet."""

    group_ids: tuple[str, ...] = ()
    awaited: int = 0
    """Running groups of which so many have to come before."""
    outdated: bool = False
    """What runs has to be asked anew before: the batch would have groups that are younger than what was said."""


def choose(request: DrawRequest, stored: Iterable[GroupSummary], running: Sequence[int], patient: bool) -> Choice:
    """Chooses the batch of a step.

    Args:
        stored: groups that wait to be drawn, none of them stale.
        running: oldest versions of the groups that may still come.
        patient: whether to be held for running groups; if not, those that lack are left to become stale.
    """
    by_lease = sorted(stored, key=lambda group: group.sequence)
    if len(by_lease) < request.batch_groups:
        return Choice()
    chosen, lacking = _due(request, by_lease, running)
    if lacking and patient:
        return Choice(awaited=lacking)
    for group in by_lease:
        if len(chosen) == request.batch_groups:
            break
        chosen.setdefault(group.group_id, group)
    newest = max(group.oldest_policy_version for group in chosen.values())
    if patient and request.published_version is not None and newest > request.published_version:
        return Choice(outdated=True)
    last = request.oldest_trainable
    batch = sorted(chosen.values(), key=lambda group: (group.oldest_policy_version > last, group.sequence))
    return Choice(tuple(group.group_id for group in batch))


def _due(
    request: DrawRequest, by_lease: Sequence[GroupSummary], running: Sequence[int]
) -> tuple[dict[str, GroupSummary], int]:
    """The stored groups that this step has to take, and how many more it has to that still run."""
    last = request.oldest_trainable
    coming = [version for version in running if version >= last]
    versions = sorted({*coming, *(group.oldest_policy_version for group in by_lease)})
    due: dict[str, GroupSummary] = {}
    lacking = 0
    for version in versions:
        there = [group for group in by_lease if group.oldest_policy_version <= version]
        # The steps after this one that may train groups of this version take a batch each.
        later = request.batch_groups * (version - last)
        all_of_it = len(there) + sum(oldest <= version for oldest in coming)
        needed = min(request.batch_groups, all_of_it - later)
        for group in there:
            if len(due) >= needed:
                break
            due.setdefault(group.group_id, group)
        lacking = max(lacking, needed - len(due))
    return due, lacking
