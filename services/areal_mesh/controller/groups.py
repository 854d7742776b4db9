"""The groups of a run, from lease to end: which of them a call changes. The run writes each change before it counts.

Invariants:

- every leased group ends once: trained, stale, filtered or failed. A group found in a committed batch is trained
  whatever was thought of it, because the weights hold it;
- a group keeps its id, sequence, prompt and stage over every lease;
- leased = trained + stale + filtered + failed + open, in memory and in the ledger, after each call.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from areal_mesh.controller import group_changes
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.group_changes import LeaseStart, StoredFigures
from areal_mesh.controller.ledger_reader import LedgerReader
from areal_mesh.controller.open_groups import OpenGroups
from areal_mesh.controller.reasons import FRUITLESS, FruitlessRow
from areal_mesh.controller.records import GroupCounts, GroupRow, GroupState
from areal_mesh.controller.totals import GroupTotals
from areal_mesh.runtime.errors import not_found

Write = Callable[[Sequence[GroupRow], GroupTotals | None], None]
"""Writes groups as they are now, and the totals where they change with them: all or none."""


class GroupBook:
    """The groups of a run.

    Args:
        ledger: what was written of them so far.
        write: writes changes down, see `Write`; what it raises leaves the groups as they were.
        lease_seconds: a lease lapses unless it is renewed within this time.
        attempts: how often a group may fail, or be lost with its generator, before it ends as failed.
    """

    def __init__(self, ledger: LedgerReader, write: Write, clock: Clock, lease_seconds: float, attempts: int) -> None:
        self._ledger = ledger
        self._write = write
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._attempts = attempts
        rows = ledger.open_groups()
        # Holders of before this life of the controller have one lease to come back.
        self.open = OpenGroups(rows, self._lapse())
        self.totals = ledger.group_totals(len(rows))
        """Of the groups that ended."""
        self.fruitless = FruitlessRow()
        self._next_sequence = ledger.next_sequence()
        self.generated_tokens = self.totals.tokens + sum(row.tokens for row in rows)

    def _lapse(self) -> float:
        """When a lease lapses that is issued or renewed now."""
        return self._clock.monotonic() + self._lease_seconds

    @property
    def counts(self) -> GroupCounts:
        """Groups by state."""
        ended, running = self.totals.ended, self.open.running
        return GroupCounts(
            running=running,
            stored=len(self.open) - running,
            trained=ended.get(GroupState.TRAINED, 0),
            stale=ended.get(GroupState.STALE, 0),
            filtered=ended.get(GroupState.FILTERED, 0),
            failed=ended.get(GroupState.FAILED, 0),
        )

    @property
    def end_reasons(self) -> dict[str, int]:
        """Groups that ended with nothing to train on, by reason, the commonest first."""
        return dict(sorted(self.totals.reasons.items(), key=lambda reason: (-reason[1], reason[0])))

    def find(self, group_id: str) -> GroupRow | None:
        """A group, open or ended; None if it was never leased."""
        return self.open.get(group_id) or self._ledger.group(group_id)

    def row(self, group_id: str) -> GroupRow:
        """A group, open or ended.

        Raises:
            MeshError: NOT_FOUND, no such group was ever leased.
        """
        row = self.find(group_id)
        if row is None:
            raise not_found(f"{group_id} was never leased in this run; is the replay buffer another run's?")
        return row

    # --- leases --------------------------------------------------------------------------------------------------

    def issue(self, holder: str, most: int, places: int, start: LeaseStart) -> list[GroupRow]:
        """Leases up to `most` groups: first those that wait to be issued again, then up to `places` new ones."""
        now = self._clock.unix()
        again = self.open.first_waiting(most)
        rows = [group_changes.leased_again(row, holder, start, now) for row in again]
        following = self._next_sequence + max(0, min(places, most - len(rows)))
        for sequence in range(self._next_sequence, following):
            rows.append(group_changes.first_leased(sequence, holder, start, now))
        self._save(rows)
        self._next_sequence = following
        return rows

    def renew(self, holder: str, group_ids: Iterable[str]) -> list[str]:
        """Extends the leases a heartbeat names; returns those that are not this member's: it has to drop them."""
        lapse = self._lapse()
        lost = []
        for group_id in group_ids:
            row = self.open.get(group_id)
            if row is not None and row.state is GroupState.RUNNING and row.holder == holder:
                self.open.renew(group_id, lapse)
            elif row is None or row.state is GroupState.RUNNING:
                # A stored group may be named until the generator has reported its end: nothing to drop then.
                lost.append(group_id)
        return lost

    def expire(self) -> list[GroupRow]:
        """Frees leases that lapsed; returns the groups, now waiting or failed."""
        return self._fail(self.open.lapsed(self._clock.monotonic()), "lease expired")

    def free(self, holder: str, reason: str) -> list[GroupRow]:
        """Frees all leases of a member that is gone; returns the groups, now waiting or failed."""
        return self._fail(self.open.held_by(holder), reason)

    def give_back(self, holder: str, group_ids: Iterable[str] | None = None) -> None:
        """Takes back leases that a draining member hands over (all of them for None), at no cost in attempts."""
        wanted = None if group_ids is None else set(group_ids)
        self._save(
            replace(row, holder="", reason="handed back")
            for row in self.open.held_by(holder)
            if wanted is None or row.group_id in wanted
        )

    def filter(self, holder: str, group_id: str, reason: str, tokens: int = 0) -> None:
        """Ends a group as filtered, if the member still holds it; `tokens` are its response tokens, 0 if unsampled."""
        row = self.row(group_id)
        if row.state is GroupState.RUNNING and row.holder == holder:
            self._save([group_changes.ended(row, GroupState.FILTERED, reason, tokens)])
            self.generated_tokens += tokens - row.tokens if tokens else 0

    def fail(self, holder: str, group_id: str, reason: str) -> None:
        """Fails a group's generation, if the member still holds it: it waits to be issued again, or ends as failed."""
        row = self.row(group_id)
        if row.state is GroupState.RUNNING and row.holder == holder:
            self._fail([row], reason)

    def _fail(self, rows: Iterable[GroupRow], reason: str) -> list[GroupRow]:
        failed = [group_changes.failed(row, self._attempts, reason) for row in rows]
        self._save(failed)
        return failed

    # --- the replay buffer ---------------------------------------------------------------------------------------

    def store(self, group_id: str, figures: StoredFigures) -> None:
        """Notes that one group is in the replay buffer, see `store_all`."""
        self.store_all([(group_id, figures)])

    def store_all(self, stored: Iterable[tuple[str, StoredFigures]]) -> None:
        """Notes that groups are in the replay buffer, whoever brought them there; again it only adds figures.

        Raises:
            MeshError: NOT_FOUND, one of the groups was never leased; then none of them is noted.
        """
        now, tokens = self._clock.unix(), 0
        rows: dict[str, GroupRow] = {}
        for group_id, figures in stored:
            row = rows.get(group_id) or self.row(group_id)
            if row.state is GroupState.RUNNING or not row.tokens:
                rows[group_id] = group_changes.stored(row, figures, now)
                tokens += figures.tokens - row.tokens
        self._save(rows.values())
        self.generated_tokens += tokens

    def found_stored(self, versions: Mapping[str, int]) -> None:
        """Notes that the replay buffer has groups whose generators did not say so yet.

        Args:
            versions: the oldest policy version among the tokens of each.
        """
        self._save(
            group_changes.found_stored(row, versions[row.group_id])
            for row in self.open.of(versions)
            if row.state is GroupState.RUNNING
        )

    def not_found_stored(self, group_ids: Iterable[str]) -> list[GroupRow]:
        """Notes that the replay buffer lacks groups; returns those thought stored, which are issued again."""
        lost = [group_changes.lost(row) for row in self.open.of(group_ids) if row.state is GroupState.STORED]
        self._save(lost)
        return lost

    def drop_stale(self, group_ids: Iterable[str], reason: str) -> int:
        """Ends open groups as stale; returns how many were open. Groups of no lease are passed over."""
        rows = self.open.of(group_ids)
        self._save(group_changes.ended(row, GroupState.STALE, reason) for row in rows)
        return len(rows)

    def set_aside(self, reasons: Mapping[str, str]) -> None:
        """Ends those that are open as filtered: they are stored, and cannot be trained on."""
        self._save(
            group_changes.ended(row, GroupState.FILTERED, f"set aside: {reasons[row.group_id]}")
            for row in self.open.of(reasons)
        )

    # --- a batch -------------------------------------------------------------------------------------------------

    def trained_rows(self, group_ids: Sequence[str], step: int, tokens: Sequence[int] = ()) -> list[GroupRow]:
        """The groups of a batch as they are once it is committed; write them with the step, then `committed`.

        Args:
            tokens: response tokens of each, for groups whose generator had no time to say; nothing if nobody knows.

        Raises:
            MeshError: NOT_FOUND, no such group was ever leased; FAILED_PRECONDITION, another step trained on it.
        """
        said = dict(zip(group_ids, tokens, strict=False))
        rows = [self.row(group_id) for group_id in group_ids]
        return [group_changes.trained(row, step, said.get(row.group_id, 0)) for row in rows]

    def totals_after(self, rows: Sequence[GroupRow]) -> GroupTotals:
        """The totals once these rows are written."""
        return self.totals.after((self._before(row), row) for row in rows if not row.state.is_open)

    def _before(self, row: GroupRow) -> GroupRow | None:
        """A group as the ledger has it; None for a new one."""
        known = self.open.get(row.group_id)
        return self._ledger.group(row.group_id) if known is None and row.sequence < self._next_sequence else known

    def unreported_tokens(self, rows: Iterable[GroupRow]) -> int:
        """Response tokens in the rows of a batch that no generator has reported, so that nobody counted them yet."""
        return sum(row.tokens - self.row(row.group_id).tokens for row in rows)

    def committed(self, rows: Sequence[GroupRow], totals: GroupTotals, unreported_tokens: int = 0) -> None:
        """Takes in the rows of a batch, and the totals with them, once they are written; counts their tokens."""
        self.generated_tokens += unreported_tokens
        lapse = self._lapse()
        for row in rows:
            self._apply(row, lapse)
        self.totals = totals

    def _save(self, rows: Iterable[GroupRow]) -> None:
        rows = list(rows)
        if not rows:
            return
        totals = self.totals_after(rows)
        self._write(rows, None if totals is self.totals else totals)
        self.committed(rows, totals)

    def _apply(self, row: GroupRow, lapse: float) -> None:
        before = self.open.get(row.group_id)
        if before is None and not row.state.is_open:
            return  # ended already: only its figures are new
        if row.state in FRUITLESS:
            self.fruitless.ended(row.state, row.reason)
        elif row.state is GroupState.STORED and (before is None or before.state is GroupState.RUNNING):
            self.fruitless.stored()
        self.open.put(row, lapse)
