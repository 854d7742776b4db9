"""Groups from lease to end: the open ones in memory, each change written to the ledger before it counts.

Invariants:

- every leased group ends once: trained, stale, filtered or failed. A group found in a committed batch is trained
  whatever was thought of it, because the weights hold it;
- a group keeps its id, sequence, prompt and stage over every lease;
- leased = trained + stale + filtered + failed + open, in memory and in the ledger, after each call.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.reasons import FRUITLESS, FruitlessRow
from areal_mesh.controller.records import GroupCounts, GroupRow, GroupState
from areal_mesh.controller.totals import GroupTotals
from areal_mesh.runtime.errors import failed_precondition, not_found


@dataclass(frozen=True)
class StoredFigures:
    """What a generator says of a stored group; `tokens` are response tokens of all its responses."""

    oldest_version: int
    tokens: int


@dataclass(frozen=True)
class Beginning:
    """What a group starts with: the stage it keeps, and the policy version published at the time."""

    stage: int
    published_version: int
    prompt_id_of: Callable[[int], str]


class GroupBook:
    """The groups of a run.

    Args:
        lease_seconds: a lease lapses unless it is renewed within this time.
        attempts: how often a group may fail, or be lost with its generator, before it ends as failed.
    """

    def __init__(self, ledger: Ledger, clock: Clock, lease_seconds: float, attempts: int) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._attempts = attempts
        self._open = {row.group_id: row for row in ledger.open_groups()}
        self._waiting = {group_id for group_id, row in self._open.items() if _waits(row)}
        self._held: dict[str, dict[str, GroupRow]] = {}
        for row in self._open.values():
            if row.holder:
                self._held.setdefault(row.holder, {})[row.group_id] = row
        self._ended = ledger.group_totals(len(self._open))
        self._running = sum(row.state is GroupState.LEASED for row in self._open.values())
        self.fruitless = FruitlessRow()
        self._next_sequence = ledger.next_sequence()
        # Holders of before this life of the controller have one lease to come back.
        lapse = clock.monotonic() + lease_seconds
        self._lapses = {row.group_id: lapse for row in self._open.values() if row.holder}
        self.generated_tokens = self._ended.tokens + sum(row.tokens for row in self._open.values())

    @property
    def counts(self) -> GroupCounts:
        """Groups by state."""
        ended = self._ended.ended
        return GroupCounts(
            running=self._running,
            stored=len(self._open) - self._running,
            trained=ended.get(GroupState.TRAINED, 0),
            stale=ended.get(GroupState.STALE, 0),
            filtered=ended.get(GroupState.FILTERED, 0),
            failed=ended.get(GroupState.FAILED, 0),
        )

    @property
    def end_reasons(self) -> dict[str, int]:
        """Groups that ended with nothing to train on, by reason, the commonest first."""
        return dict(sorted(self._ended.reasons.items(), key=lambda reason: (-reason[1], reason[0])))

    def open_rows(self) -> list[GroupRow]:
        """Open groups, by sequence."""
        return sorted(self._open.values(), key=lambda row: row.sequence)

    def waiting(self) -> int:
        """Groups that wait to be issued again."""
        return len(self._waiting)

    def held_by(self, holder: str) -> list[GroupRow]:
        """Groups leased to a member, by sequence."""
        return sorted(self._held.get(holder, {}).values(), key=lambda row: row.sequence)

    def issue(self, holder: str, most: int, places: int, beginning: Beginning) -> list[GroupRow]:
        """Leases up to `most` groups: first those that wait to be issued again, then up to `places` new ones."""
        now = self._clock.unix()
        version = beginning.published_version
        # Ids are in the order of their sequence.
        again = [self._open[group_id] for group_id in heapq.nsmallest(most, self._waiting)]
        rows = [replace(row, holder=holder, leased_at=now, lease_version=version) for row in again]
        first = self._next_sequence
        following = first + max(0, min(places, most - len(rows)))
        for sequence in range(first, following):
            prompt_id = beginning.prompt_id_of(sequence)
            rows.append(
                GroupRow(
                    group_id=f"g{sequence:08d}",
                    sequence=sequence,
                    prompt_id=prompt_id,
                    stage=beginning.stage,
                    state=GroupState.LEASED,
                    holder=holder,
                    leased_at=now,
                    lease_version=version,
                )
            )
        self._save(rows)
        self._next_sequence = following
        return rows

    def renew(self, holder: str, group_ids: Iterable[str]) -> list[str]:
        """Extends the leases a heartbeat names; returns those that are not this member's: it has to drop them."""
        lapse = self._clock.monotonic() + self._lease_seconds
        lost = []
        for group_id in group_ids:
            row = self._open.get(group_id)
            if row is not None and row.state is GroupState.LEASED and row.holder == holder:
                self._lapses[group_id] = lapse
            elif row is None or row.state is GroupState.LEASED:
                # A stored group may be named until the generator has reported its end: nothing to drop then.
                lost.append(group_id)
        return lost

    def expire(self) -> list[GroupRow]:
        """Frees leases that lapsed; returns the groups, now waiting or failed."""
        now = self._clock.monotonic()
        lapsed = [self._open[group_id] for group_id, lapse in self._lapses.items() if lapse < now]
        return self._fail(lapsed, "lease expired")

    def free(self, holder: str, reason: str) -> list[GroupRow]:
        """Frees all leases of a member that is gone; returns the groups, now waiting or failed."""
        return self._fail(self.held_by(holder), reason)

    def give_back(self, holder: str, group_ids: Iterable[str] | None = None) -> None:
        """Takes back leases that a draining member hands over (all of them for None), at no cost in attempts."""
        wanted = None if group_ids is None else set(group_ids)
        self._save(
            replace(row, holder="", reason="handed back")
            for row in self.held_by(holder)
            if wanted is None or row.group_id in wanted
        )

    def store(self, group_id: str, figures: StoredFigures) -> None:
        """A group is in the replay buffer, whoever brought it there. Again, or after its end, it only adds figures.

        Raises:
            MeshError: NOT_FOUND, no such group was ever leased.
        """
        row = self.row(group_id)
        if row.state is not GroupState.LEASED and row.tokens:
            return
        described = replace(row, oldest_version=figures.oldest_version, tokens=figures.tokens, reason="")
        if row.state is GroupState.LEASED:
            described = replace(described, state=GroupState.STORED, holder="", stored_at=self._clock.unix())
        self._save([described])
        self.generated_tokens += figures.tokens - row.tokens

    def found_stored(self, group_id: str, oldest_version: int) -> None:
        """The replay buffer has a group whose lease is open: its generator ended before it could say so."""
        row = self._open.get(group_id)
        if row is not None and row.state is GroupState.LEASED:
            stored = replace(row, state=GroupState.STORED, holder="", oldest_version=oldest_version)
            self._save([replace(stored, reason="found in the replay buffer")])

    def not_found_stored(self, group_ids: Iterable[str]) -> list[GroupRow]:
        """The replay buffer lacks these: those thought stored are issued again, at no cost in attempts."""
        rows = (self._open[group_id] for group_id in group_ids if group_id in self._open)
        lost = [
            replace(row, state=GroupState.LEASED, stored_at=None, reason="lost by the replay buffer")
            for row in rows
            if row.state is GroupState.STORED
        ]
        self._save(lost)
        return lost

    def filter(self, holder: str, group_id: str, reason: str) -> None:
        """Ends a group as filtered, if the member still holds it."""
        row = self.row(group_id)
        if row.state is GroupState.LEASED and row.holder == holder:
            self._save([replace(row, state=GroupState.FILTERED, holder="", reason=reason)])

    def fail(self, holder: str, group_id: str, reason: str) -> None:
        """Generation failed, if the member still holds the group: it waits to be issued again, or ends as failed."""
        row = self.row(group_id)
        if row.state is GroupState.LEASED and row.holder == holder:
            self._fail([row], reason)

    def drop_stale(self, group_ids: Iterable[str], reason: str) -> int:
        """Ends open groups as stale; returns how many were open. Groups of no lease are passed over."""
        rows = [self._open[group_id] for group_id in group_ids if group_id in self._open]
        self._save(replace(row, state=GroupState.STALE, holder="", reason=reason) for row in rows)
        return len(rows)

    def rows_of(self, group_ids: Iterable[str]) -> list[GroupRow]:
        """Those of the groups that are open."""
        return [self._open[group_id] for group_id in group_ids if group_id in self._open]

    def set_aside(self, reasons: Mapping[str, str]) -> None:
        """Ends those that are open as filtered: they are stored, and cannot be trained on."""
        self._save(
            replace(row, state=GroupState.FILTERED, holder="", reason=f"set aside: {reasons[row.group_id]}")
            for row in self.rows_of(reasons)
        )

    def trained_rows(self, group_ids: Sequence[str], step: int, tokens: Sequence[int] = ()) -> list[GroupRow]:
        """The groups of a batch as they are once it is committed; write them with the step, then `committed`.

        `tokens`: response tokens of each, for groups whose generator had no time to say; nothing if nobody knows.

        Raises:
            MeshError: NOT_FOUND, no such group was ever leased; FAILED_PRECONDITION, another step trained on it.
        """
        rows = [self.row(group_id) for group_id in group_ids]
        for row in rows:
            if row.state is GroupState.TRAINED:
                raise failed_precondition(
                    f"{row.group_id} was trained on in step {row.step}; no group is trained twice"
                )
        said = dict(zip(group_ids, tokens, strict=False))
        return [
            replace(row, state=GroupState.TRAINED, holder="", step=step, tokens=row.tokens or said.get(row.group_id, 0))
            for row in rows
        ]

    def totals_after(self, rows: Sequence[GroupRow]) -> GroupTotals:
        """The totals once these rows are written."""
        return self._ended.after((self._before(row), row) for row in rows)

    def unreported_tokens(self, rows: Iterable[GroupRow]) -> int:
        """Response tokens in the rows of a batch that no generator has reported, so that nobody counted them yet."""
        return sum(row.tokens - self.row(row.group_id).tokens for row in rows)

    def committed(self, rows: Sequence[GroupRow], totals: GroupTotals, unreported_tokens: int = 0) -> None:
        """The ledger has these rows of a batch, and the totals with them; the tokens are counted from now on."""
        self.generated_tokens += unreported_tokens
        for row in rows:
            self._apply(row)
        self._ended = totals

    def _before(self, row: GroupRow) -> GroupRow | None:
        """A group as the ledger has it; None for a new one."""
        known = self._open.get(row.group_id)
        return self._ledger.group(row.group_id) if known is None and row.sequence < self._next_sequence else known

    def find(self, group_id: str) -> GroupRow | None:
        """A group, open or ended; None if it was never leased."""
        return self._open.get(group_id) or self._ledger.group(group_id)

    def row(self, group_id: str) -> GroupRow:
        """A group, open or ended.

        Raises:
            MeshError: NOT_FOUND, no such group was ever leased.
        """
        row = self.find(group_id)
        if row is None:
            raise not_found(f"{group_id} was never leased in this run; is the replay buffer another run's?")
        return row

    def _fail(self, rows: Iterable[GroupRow], reason: str) -> list[GroupRow]:
        failed = []
        for row in rows:
            attempt = row.attempt + 1
            state = GroupState.FAILED if attempt >= self._attempts else GroupState.LEASED
            failed.append(replace(row, state=state, holder="", attempt=attempt, reason=reason))
        self._save(failed)
        return failed

    def _save(self, rows: Iterable[GroupRow]) -> None:
        rows = list(rows)
        if not rows:
            return
        totals = self.totals_after(rows)
        self._ledger.put_groups(rows, None if totals is self._ended else totals)
        self.committed(rows, totals)

    def _apply(self, row: GroupRow) -> None:
        before = self._open.get(row.group_id)
        if before is None and not row.state.is_open:
            return  # ended already: only its figures are new
        if before is not None:
            self._running -= before.state is GroupState.LEASED
            self._release(before)
        self._running += row.state is GroupState.LEASED
        if row.holder:
            self._held.setdefault(row.holder, {})[row.group_id] = row
        if row.state in FRUITLESS:
            self.fruitless.ended(row.state, row.reason)
        elif row.state is GroupState.STORED and (before is None or before.state is GroupState.LEASED):
            self.fruitless.stored()
        if row.state.is_open:
            self._open[row.group_id] = row
        else:
            self._open.pop(row.group_id, None)
        if _waits(row):
            self._waiting.add(row.group_id)
        else:
            self._waiting.discard(row.group_id)
        if row.holder:
            self._lapses[row.group_id] = self._clock.monotonic() + self._lease_seconds
        else:
            self._lapses.pop(row.group_id, None)

    def _release(self, row: GroupRow) -> None:
        """A group is no longer its holder's."""
        held = self._held.get(row.holder)
        if held is not None:
            held.pop(row.group_id, None)
            if not held:
                del self._held[row.holder]


def _waits(row: GroupRow) -> bool:
    return row.state is GroupState.LEASED and not row.holder
