"""Which groups a step gets, and which are too old: the buffer's state as a pure machine.

Events in, decisions out: it owns no file and no clock. A decision is a list of events; the caller applies and records
them, and applying the recorded events again gives the same state. What holds:

- a group id is accepted once for ever, also after its group was trained on and released;
- a group that was stored ends once, chosen for one step, dropped as stale or set aside, and never changes its end;
- no group is chosen whose staleness, the learner's version minus the oldest version in it, is over the bound;
- a batch is chosen by deadline and order of lease, see `deadlines`, never by who was stored first;
- the batch of a step never changes once chosen, whatever version asks for it again, unless groups of it are set
  aside: then its others wait again, and the step is drawn again.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from areal_mesh.replay.deadlines import DrawRequest, choose
from areal_mesh.replay.events import (
    WAS_SET_ASIDE,
    Chosen,
    Dropped,
    Event,
    GroupSummary,
    Released,
    RetiredGroup,
    SetAside,
    Stored,
)


class StepReleased(Exception):
    """The step's batch was released: a checkpoint covers it, and its groups may be gone."""


class NotInBatch(Exception):
    """Groups are to be set aside that are not of the step's batch."""


@dataclass(frozen=True)
class Decision:
    """What a draw does now; `awaited` and `outdated` as in `Choice`."""

    events: tuple[Event, ...] = ()
    awaited: int = 0
    outdated: bool = False


class GroupLedger:
    """State over the summaries of all groups ever stored."""

    def __init__(self) -> None:
        self._oldest: dict[str, int] = {}
        self._waiting: dict[str, GroupSummary] = {}
        self._waiting_bytes = 0
        self._batches: dict[int, dict[str, GroupSummary]] = {}
        self._set_aside: set[str] = set()
        self._dropped_at: dict[str, int] = {}
        self._stale_of_step: dict[int, list[str]] = {}
        self._stale_of_version: dict[int, list[str]] = {}
        self._released_step = 0

    def knows(self, group_id: str) -> bool:
        """Whether a group of this id was ever stored."""
        return group_id in self._oldest

    def batch(self, step: int) -> tuple[str, ...] | None:
        """The groups chosen for a step, in order; None where none are chosen or they are released."""
        batch = self._batches.get(step)
        return None if batch is None else tuple(batch)

    def stale_of_step(self, step: int) -> tuple[str, ...]:
        """All groups found too old while the step was drawn, until the step is released."""
        return tuple(self._stale_of_step.get(step, ()))

    def stale_since(self, policy_version: int) -> tuple[str, ...]:
        """All groups dropped as too old at this policy version or a later one."""
        versions = sorted(version for version in self._stale_of_version if version >= policy_version)
        return tuple(group_id for version in versions for group_id in self._stale_of_version[version])

    def draw(self, request: DrawRequest, patient: bool = True) -> Decision:
        """Decides what drawing a step does now: groups to drop, then the batch if it can be chosen.

        Nothing where the step's batch is chosen already. `patient`: see `deadlines.choose`.

        Raises:
            StepReleased: the batch of this step was released.
        """
        step = request.step
        if step <= self._released_step:
            raise StepReleased(f"the batch of step {step} was released; {self._released_step} is the last released")
        if step in self._batches:
            return Decision()
        stale = self._too_old(request.policy_version, request.max_staleness)
        events: list[Event] = [Dropped(stale, request.policy_version, step)] if stale else []
        gone = set(stale)
        fresh = [group for group_id, group in self._waiting.items() if group_id not in gone]
        running = [version for group_id, version in request.running.items() if not self.knows(group_id)]
        choice = choose(request, fresh, running, patient)
        if choice.group_ids:
            events.append(Chosen(step, choice.group_ids))
        return Decision(tuple(events), choice.awaited, choice.outdated)

    def evict(self, policy_version: int, max_staleness: int) -> list[Event]:
        """Decides which waiting groups would be too old at a policy version."""
        stale = self._too_old(policy_version, max_staleness)
        return [Dropped(stale, policy_version, 0)] if stale else []

    def set_aside(self, step: int, group_ids: Iterable[str]) -> list[Event]:
        """Decides that groups of a step's batch end without being trained on; nothing where they ended so before.

        Raises:
            NotInBatch: one of them is not of that batch.
        """
        wanted = [group_id for group_id in dict.fromkeys(group_ids) if group_id not in self._set_aside]
        strangers = [group_id for group_id in wanted if group_id not in self._batches.get(step, {})]
        if strangers:
            raise NotInBatch(f"{', '.join(strangers[:3])}: not in the batch of step {step}")
        return [SetAside(step, tuple(wanted))] if wanted else []

    def release(self, step: int) -> list[Event]:
        """Decides the release of the steps up to `step`; nothing where they are released already."""
        return [Released(step)] if step > self._released_step else []

    def apply(self, event: Event) -> tuple[str, ...]:
        """Takes an event as having happened; returns the groups whose payloads nobody needs from now on.

        Raises:
            ValueError: it contradicts earlier events.
        """
        match event:
            case Stored(group):
                self._store(group)
                return ()
            case Chosen(step, group_ids):
                return self._choose(step, group_ids)
            case Dropped(group_ids, policy_version, step):
                return self._drop(group_ids, policy_version, step)
            case SetAside(step, group_ids):
                return self._put_aside(step, group_ids)
            case Released(step):
                return self._release(step)

    def restore(self, released_step: int, groups: Iterable[RetiredGroup]) -> None:
        """Takes over what outlived deleted segments; comes before any event."""
        self._released_step = max(self._released_step, released_step)
        for group in groups:
            if group.group_id in self._oldest:
                continue
            self._oldest[group.group_id] = group.oldest_policy_version
            if group.dropped_version == WAS_SET_ASIDE:
                self._set_aside.add(group.group_id)
            elif group.dropped_version >= 0:
                self._end_stale(group.group_id, group.dropped_version)

    def describe(self, group_id: str) -> RetiredGroup | None:
        """What is known of a group that was stored once, None for any other."""
        oldest = self._oldest.get(group_id)
        if oldest is None:
            return None
        aside = group_id in self._set_aside
        return RetiredGroup(group_id, oldest, WAS_SET_ASIDE if aside else self._dropped_at.get(group_id, -1))

    def staleness(self, policy_version: int) -> Counter[int]:
        """Number of waiting groups by staleness at a policy version."""
        return Counter(policy_version - group.oldest_policy_version for group in self._waiting.values())

    @property
    def waiting_groups(self) -> int:
        """Groups neither chosen nor dropped."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """Their bytes."""
        return self._waiting_bytes

    @property
    def chosen_groups(self) -> int:
        """Groups of batches that are not released."""
        return sum(map(len, self._batches.values()))

    @property
    def stale_groups(self) -> int:
        """Groups ever dropped as too old."""
        return len(self._dropped_at)

    @property
    def set_aside_groups(self) -> int:
        """Groups ever set aside."""
        return len(self._set_aside)

    @property
    def last_drawn_step(self) -> int:
        """The last step whose batch was ever chosen, as far as the log tells; 0 for none."""
        return max(self._batches, default=self._released_step)

    @property
    def released_step(self) -> int:
        """The last released step, 0 for none."""
        return self._released_step

    def _too_old(self, policy_version: int, max_staleness: int) -> tuple[str, ...]:
        bound = policy_version - max_staleness
        return tuple(group.group_id for group in self._waiting.values() if group.oldest_policy_version < bound)

    def _store(self, group: GroupSummary) -> None:
        if group.group_id in self._oldest:
            raise ValueError(f"group {group.group_id} is stored twice")
        self._oldest[group.group_id] = group.oldest_policy_version
        self._waiting[group.group_id] = group
        self._waiting_bytes += group.size

    def _take(self, group_id: str) -> GroupSummary:
        group = self._waiting.pop(group_id, None)
        if group is None:
            raise ValueError(f"group {group_id} is not waiting, so it cannot be chosen or dropped")
        self._waiting_bytes -= group.size
        return group

    def _choose(self, step: int, group_ids: tuple[str, ...]) -> tuple[str, ...]:
        if step <= self._released_step:
            # Recorded before a release that is known already: the release outlived its segment, this record did too,
            # and perhaps not those of all its groups. `end_released` ends them once all records are read.
            group_ids = tuple(group_id for group_id in group_ids if group_id in self._waiting)
        if step in self._batches:
            raise ValueError(f"the batch of step {step} is chosen twice")
        self._batches[step] = {group_id: self._take(group_id) for group_id in group_ids}
        return ()

    def _put_aside(self, step: int, group_ids: tuple[str, ...]) -> tuple[str, ...]:
        batch = self._batches.pop(step, {})
        ended = tuple(group_id for group_id in group_ids if batch.pop(group_id, None) is not None)
        if len(ended) < len(group_ids) and step > self._released_step:
            raise ValueError(f"groups are set aside that are not in the batch of step {step}")
        self._set_aside.update(group_ids)
        self._waiting = batch | self._waiting
        self._waiting_bytes += sum(group.size for group in batch.values())
        return ended

    def _drop(self, group_ids: tuple[str, ...], policy_version: int, step: int) -> tuple[str, ...]:
        # A group whose segment is deleted is known to have been dropped before the record of it is read again.
        ended = tuple(group_id for group_id in group_ids if group_id not in self._dropped_at)
        for group_id in ended:
            self._take(group_id)
            self._end_stale(group_id, policy_version)
        if step > self._released_step:
            self._stale_of_step.setdefault(step, []).extend(group_ids)
        return ended

    def _end_stale(self, group_id: str, policy_version: int) -> None:
        self._dropped_at[group_id] = policy_version
        self._stale_of_version.setdefault(policy_version, []).append(group_id)

    def _release(self, step: int) -> tuple[str, ...]:
        self._released_step = max(self._released_step, step)
        for other in [other for other in self._stale_of_step if other <= step]:
            del self._stale_of_step[other]
        return self._forget_batches(step)

    def end_released(self) -> tuple[str, ...]:
        """Forgets the batches of released steps; returns their groups, whose payloads nobody needs any more."""
        return self._forget_batches(self._released_step)

    def _forget_batches(self, step: int) -> tuple[str, ...]:
        released = [other for other in self._batches if other <= step]
        return tuple(group_id for other in released for group_id in self._batches.pop(other))
