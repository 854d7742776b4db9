"""The open groups in memory: by id and by holder, those that wait to be issued again, and when leases lapse. Pure."""

import heapq
from collections.abc import Iterable

from areal_mesh.controller.records import GroupRow, GroupState


class OpenGroups:
    """Groups whose end is still before them.

    Args:
        rows: those that the ledger has.
        lapse: when their leases lapse, in monotonic seconds.
    """

    def __init__(self, rows: Iterable[GroupRow], lapse: float) -> None:
        self._rows: dict[str, GroupRow] = {}
        self._waiting: set[str] = set()
        self._held: dict[str, dict[str, GroupRow]] = {}
        self._lapses: dict[str, float] = {}
        self.running = 0
        """Leased to a generator, or waiting to be issued again."""
        for row in rows:
            self.put(row, lapse)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Groups that wait to be issued again."""
        return len(self._waiting)

    def get(self, group_id: str) -> GroupRow | None:
        """An open group; None where it ended, or never began."""
        return self._rows.get(group_id)

    def of(self, group_ids: Iterable[str]) -> list[GroupRow]:
        """Those of the groups that are open."""
        return [self._rows[group_id] for group_id in group_ids if group_id in self._rows]

    def all(self) -> list[GroupRow]:
        """Every open group, by sequence."""
        return sorted(self._rows.values(), key=_sequence)

    def held_by(self, holder: str) -> list[GroupRow]:
        """Groups leased to a member, by sequence."""
        return sorted(self._held.get(holder, {}).values(), key=_sequence)

    def first_waiting(self, most: int) -> list[GroupRow]:
        """The first of the groups that wait to be issued again."""
        # Ids are in the order of their sequence.
        return [self._rows[group_id] for group_id in heapq.nsmallest(most, self._waiting)]

    def renew(self, group_id: str, lapse: float) -> None:
        """Lets a leased group's lease lapse at `lapse`, and no sooner."""
        self._lapses[group_id] = lapse

    def lapsed(self, now: float) -> list[GroupRow]:
        """Groups whose lease has lapsed."""
        return [self._rows[group_id] for group_id, lapse in self._lapses.items() if lapse < now]

    def put(self, row: GroupRow, lapse: float) -> None:
        """Takes in a group as it is now: new, changed, or ended, and then it is none of these any more."""
        before = self._rows.get(row.group_id)
        if before is not None:
            self.running -= before.state is GroupState.RUNNING
            self._release(before)
        self.running += row.state is GroupState.RUNNING
        if row.state.is_open:
            self._rows[row.group_id] = row
        else:
            self._rows.pop(row.group_id, None)
        if row.state is GroupState.RUNNING and not row.holder:
            self._waiting.add(row.group_id)
        else:
            self._waiting.discard(row.group_id)
        if row.holder:
            self._held.setdefault(row.holder, {})[row.group_id] = row
            self._lapses[row.group_id] = lapse
        else:
            self._lapses.pop(row.group_id, None)

    def _release(self, row: GroupRow) -> None:
        """Takes a group from its holder."""
        held = self._held.get(row.holder)
        if held is not None:
            held.pop(row.group_id, None)
            if not held:
                del self._held[row.holder]


def _sequence(row: GroupRow) -> int:
    return row.sequence
