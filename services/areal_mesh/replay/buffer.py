"""The replay buffer: the ledger's decisions made durable, before anyone hears of them.

State changes on the event loop alone; reading, writing and checking run in threads. A group counts once its record is
durable. A decision counts at once for what is decided next, and is answered once its record is durable: records
become durable in order, so the wait for the last decision covers all before it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import structlog

from areal_mesh.replay.answers import Drawn, Statistics
from areal_mesh.replay.awaited_log import AwaitedLog
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.directory import lock_directory, open_logs
from areal_mesh.replay.events import Event, GroupSummary, RetiredGroup, Stored, encode, group_payload
from areal_mesh.replay.patience import DrawPatience
from areal_mesh.replay.reading_ahead import BatchReader
from areal_mesh.replay.records import Location
from areal_mesh.replay.segment_file import CorruptLog
from areal_mesh.replay.segments import LogFull
from areal_mesh.replay.state import BufferState
from areal_mesh.replay.waiting_room import WaitingRoom
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings.services import Durability
from areal_mesh.runtime.waiting import wait_until

_LOG = structlog.get_logger("replay")
# Kept of the spare for releases, which free the disk: a draw or an eviction is refused before it would use this.
_RELEASE_BYTES = 1 << 16
# A draw that is held comes back so often: the learner asks the controller anew which groups run by now.
_HELD_SECONDS = 1.0
_OUTDATED_SECONDS = 0.02


class ReplayBuffer:
    """Groups in a durable log, bounded in waiting bytes."""

    def __init__(
        self,
        directory: Path,
        waiting_bytes: int,
        segment_bytes: int,
        durability: Durability = "sync",
        patience_seconds: float = 0.0,
        kept_bytes: int = 0,
        keep_released: bool = False,
    ) -> None:
        """Opens the buffer in `directory` and recovers its state. Blocks.

        `patience_seconds`: a draw is held so long for groups that still run. `kept_bytes`: of segments to look at;
        `keep_released`: all are kept. Raises StartupError: another process holds the directory, or its log is damaged.
        """
        self._room = WaitingRoom(waiting_bytes)
        self._patience = DrawPatience(patience_seconds)
        self._keep_released = keep_released
        self._state = BufferState()
        self._storing: dict[str, asyncio.Future[Location]] = {}
        self._storing_bytes = 0
        self._duplicates = self._stored = 0
        self._draining, self._changed = False, asyncio.Event()
        self._retiring = asyncio.Lock()
        self._decided: asyncio.Future[Location] | None = None
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._lock = lock_directory(directory)
        try:
            self._history, self._log = open_logs(directory, self._state, segment_bytes, durability, kept_bytes)
            self._state.recovered()
            self._appends, self._retirements = AwaitedLog(self._log), AwaitedLog(self._history)
            self._reader = BatchReader(self._log, self._state, self._fail)
        except CorruptLog as error:
            self._lock.release()
            raise StartupError(f"the replay log cannot be read: {error}") from error

    async def append(self, group: GroupSummary, payload: bytes) -> bool:
        """Stores a group that was checked, `payload` its bytes; returns once it is durable.

        True: the id was stored before, and nothing was done.

        Raises:
            MeshError: RESOURCE_EXHAUSTED when the waiting bytes are full; INVALID_ARGUMENT for a group that could
                never fit.
            LogFull, LogBroken: the disk took no more.
        """
        storing = self._storing.get(group.group_id)
        if storing is not None:
            await asyncio.shield(storing)
        if storing is not None or self._state.ledger.knows(group.group_id):
            self._duplicates += 1
            return True
        self._room.check(group, self._state.ledger.waiting_bytes + self._storing_bytes)
        stored = self._appends.append(Stored(group), payload)
        self._storing[group.group_id] = stored
        self._storing_bytes += group.size
        # The state follows the disk even where the caller gives up: hence a callback, and a shield around the wait.
        stored.add_done_callback(partial(self._end_storing, group))
        await asyncio.shield(stored)
        return False

    async def draw(self, request: DrawRequest, wait_seconds: float) -> Drawn:
        """Chooses the batch of a step, waiting for enough groups; the same step gives the same batch again.

        Comes back without a batch before the wait is over when groups were found too old just now, so that others can
        be leased in their place; when the draw is held for running groups, so that the caller finds out what became of
        them; when what it was told of them is out of date; and when the service drains.

        Raises:
            StepReleased: the batch was released.
            MeshError: FAILED_PRECONDITION when a batch does not fit in the waiting bytes.
            LogFull, LogBroken: the disk took no more.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        ledger = self._state.ledger
        while True:
            changed = self._changed
            patience = self._patience.left(request)
            # A full room has no place for what is awaited: only drawing makes some.
            decision = ledger.draw(request, patient=patience > 0 and not self._room.refuses)
            self._decide(decision.events)
            drawn = Drawn(ledger.batch(request.step), ledger.stale_of_step(request.step))
            await self._settled()
            if drawn.group_ids is not None or decision.events or self._draining:
                return drawn
            if decision.outdated:
                # A publish may not be recorded yet where its first groups are stored: not asked for as fast as can be.
                await wait_until(changed, _OUTDATED_SECONDS)
                return drawn
            remaining = deadline - loop.time()
            if remaining <= 0:
                self._room.check_batch_fits(request.batch_groups, ledger.waiting_groups, ledger.waiting_bytes)
                return drawn
            if decision.awaited:
                deadline = min(deadline, loop.time() + _HELD_SECONDS)
                await self._patience.hold(request, decision.awaited, changed, min(remaining, _HELD_SECONDS))
            else:
                await wait_until(changed, remaining)

    def read(
        self, group_ids: Sequence[str], of_record: Callable[[bytes], bytes] = group_payload
    ) -> AsyncIterator[bytes]:
        """The serialised groups of a batch that is not released, or what else `of_record` makes of their records.

        Raises as `BatchReader.read`.
        """
        return self._reader.read(group_ids, of_record)

    async def set_aside(self, step: int, group_ids: Sequence[str]) -> None:
        """Ends groups of a step's batch that cannot be trained on; the step is drawn again.

        Raises:
            NotInBatch: one of them is not of that batch.
        """
        self._decide(self._state.ledger.set_aside(step, group_ids))
        await self._settled()

    async def evict(self, policy_version: int, max_staleness: int) -> tuple[str, ...]:
        """Drops waiting groups that would be too old at a version; returns all dropped at that version or since."""
        self._decide(self._state.ledger.evict(policy_version, max_staleness))
        stale = self._state.ledger.stale_since(policy_version)
        await self._settled()
        return stale

    async def release(self, step: int) -> None:
        """Releases the batches of the steps up to `step`, and deletes the segments that hold nothing else.

        A full disk does not keep it from that: there is room aside for it.
        """
        self._record(self._state.ledger.release(step))
        await self._settled()
        if self._keep_released:
            return
        async with self._retiring:
            while (retired := self._state.retire()) is not None:
                # The history must not get ahead of the log: what it tells of a group has to be durable there.
                await self._settled()
                written = self._retirements.append(retired, decision=True)
                written.add_done_callback(self._note_failure)
                try:
                    await asyncio.shield(written)
                except LogFull as error:
                    _LOG.warning("a released segment stays until the disk has room", cause=str(error))
                    return
                self._state.forget(retired)
                await asyncio.to_thread(self._log.delete_through, retired.segment)

    def find(self, group_ids: Sequence[str]) -> list[RetiredGroup]:
        """What is known of those of the groups that were ever stored."""
        found = (self._state.ledger.describe(group_id) for group_id in group_ids)
        return [group for group in found if group is not None]

    def statistics(self, policy_version: int) -> Statistics:
        """What the buffer holds, with staleness at a policy version."""
        ledger = self._state.ledger
        return Statistics(
            waiting_groups=ledger.waiting_groups,
            waiting_bytes=ledger.waiting_bytes,
            consumed_groups=ledger.chosen_groups,
            bytes_on_disk=self._log.bytes_on_disk + self._history.bytes_on_disk,
            bytes_limit=self._room.limit,
            staleness=ledger.staleness(policy_version),
            dropped={"duplicate": self._duplicates, "stale": ledger.stale_groups, "set_aside": ledger.set_aside_groups},
            last_drawn_step=ledger.last_drawn_step,
            released_step=ledger.released_step,
            held_seconds=self._patience.held_seconds,
        )

    @property
    def full(self) -> str:
        """Why the disk takes no groups, for a person; empty while it does."""
        history_full = self._history.full if self._history.decision_room < _RELEASE_BYTES else ""
        return self._log.full or history_full

    @property
    def last_drawn_step(self) -> int:
        """The last step whose batch was drawn."""
        return self._state.ledger.last_drawn_step

    @property
    def stored(self) -> int:
        """Groups stored since the process started."""
        return self._stored

    def drain(self) -> None:
        """Lets draws that wait come back."""
        self._draining = True
        self._notify()

    async def watch(self) -> None:
        """Returns never; raises what broke the log, after which the process has to end."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    def close(self) -> None:
        """Makes what was appended durable and gives the directory back. Blocks."""
        self._log.close()
        self._history.close()
        self._lock.release()

    def _decide(self, events: Sequence[Event]) -> None:
        """Records what was decided; raises LogFull, with nothing decided, where a full disk has no room for it."""
        needed = _RELEASE_BYTES + sum(len(part) for event in events for part in encode(event)[1])
        if events and self._log.full and self._log.decision_room < needed:
            raise LogFull(self._log.full)
        self._record(events)

    def _record(self, events: Sequence[Event]) -> None:
        for event in events:
            decided = self._appends.append(event, decision=True)
            self._state.decide(event)
            decided.add_done_callback(partial(self._end_deciding, event))
            self._decided = decided
        if events:
            self._room.changed()
            self._notify()

    async def _settled(self) -> None:
        if self._decided is not None:
            await asyncio.shield(self._decided)

    def _end_storing(self, group: GroupSummary, stored: asyncio.Future[Location]) -> None:
        del self._storing[group.group_id]
        self._storing_bytes -= group.size
        if stored.exception() is None:
            self._stored += 1
            self._room.changed()
            self._state.store(group, stored.result())
            self._notify()
        self._note_failure(stored)

    def _end_deciding(self, event: Event, decided: asyncio.Future[Location]) -> None:
        error = decided.exception()
        if error is None:
            self._state.settle(event, decided.result())
        else:
            # The state is ahead of the log now, a full disk included: only opening the log again makes them one.
            self._fail(error)

    def _note_failure(self, written: asyncio.Future[Location]) -> None:
        error = written.exception()
        if error is not None and not isinstance(error, LogFull):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._failed.set()
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
