"""Group commit: records appended while the disk is busy share the next sync, and each is acknowledged after it.

One thread writes; the event loop never blocks on the disk. Records become durable in the order of their appending,
so a durable record means that every earlier one is durable too, those aside that failed with `LogFull`.

`durability` says what is waited for before a record counts as durable: "sync", that the disk has it; "write", that
the operating system has it, which outlives the process but not the machine, and the disk within a second; "none", the
same without ever asking the disk.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from areal_mesh.replay.records import Location, Record
from areal_mesh.replay.segments import LogFull, SegmentStore
from areal_mesh.runtime.settings.services import Durability

# A commit ends here: past some MB one sync costs little beside the writing, and the first in it should not wait long.
_COMMIT_BYTES = 16 << 20
_CLOSE_SECONDS = 30.0
# So long what was written may stay without a sync, and the note of what was acknowledged without one of its own.
_SETTLE_SECONDS = 1.0


class LogBroken(Exception):
    """A write or sync failed, so what the disk holds is unknown until the log is opened again."""


@dataclass(frozen=True, slots=True)
class Append:
    """A record to be appended, of `kind` 1 to 255, its payload in parts; a decision may use the spare on a full disk.

    `done` once it is durable; it fails with LogFull (this record alone is not stored) or LogBroken.
    """

    kind: int
    parts: tuple[bytes, ...]
    decision: bool
    done: Future[Location] = field(default_factory=Future)

    @property
    def length(self) -> int:
        return sum(map(len, self.parts))


def _at_once(resolve: Callable[[], None]) -> None:
    resolve()


def _resolve(durable: Sequence[tuple[Append, Location]]) -> None:
    for item, location in durable:
        item.done.set_result(location)


def _not_cancelled(items: Sequence[Append]) -> list[Append]:
    return [item for item in items if item.done.set_running_or_notify_cancel()]


def _fail_rest(batch: Sequence[Append], error: Exception) -> None:
    for item in batch:
        if not item.done.done():
            item.done.set_exception(error)


def _refuse(placed: Sequence[tuple[Append, Location]], error: LogFull) -> None:
    for item, _ in placed:
        item.done.set_exception(error)


class DurableLog:
    """A log of opaque records in one folder."""

    def __init__(
        self,
        directory: Path,
        segment_bytes: int,
        first: int,
        visit: Callable[[Record], None],
        durability: Durability = "sync",
        spare_bytes: int = 1 << 20,
        kept_bytes: int = 0,
    ) -> None:
        """Opens the log and calls `visit` with each record from segment `first` on. Blocks.

        Raises:
            CorruptLog: what was durable is damaged.
        """
        self._directory = directory
        self._durability = durability
        self._segments = SegmentStore(directory, segment_bytes, spare_bytes, durability != "none", kept_bytes)
        self._segments.recover(first, visit)
        self._queue: queue.SimpleQueue[Sequence[Append] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._refusal: Exception | None = None
        self._commits = 0
        self._deliver: Callable[[Callable[[], None]], object] = _at_once
        self._settled_at = time.monotonic()
        self._thread = threading.Thread(target=self._write, name=f"log {directory.name}", daemon=True)
        self._thread.start()

    def append(self, kind: int, parts: Sequence[bytes], decision: bool = False) -> Future[Location]:
        """Appends a record; returns its `Append.done`. Raises as `check_open`."""
        self.check_open()
        item = Append(kind, tuple(parts), decision)
        self.append_all([item])
        return item.done

    def check_open(self) -> None:
        """Raises LogBroken where the log is broken or closed."""
        if self._refusal is not None:
            raise self._refusal

    def append_all(self, items: Sequence[Append]) -> None:
        """Appends records in their order; they wake the thread that writes once. All fail where it is not open."""
        with self._lock:
            refusal = self._refusal
            if refusal is None:
                self._queue.put(items)
        if refusal is not None:
            _fail_rest(items, refusal)

    def read(self, locations: Sequence[Location]) -> Iterator[bytes]:
        """The payloads of durable records. Blocks; raises as `SegmentStore.read`."""
        return self._segments.read(locations)

    def delete_through(self, number: int) -> None:
        """Deletes sealed segments up to `number`, which must be lower than one a durable record lies in. Blocks."""
        self._segments.delete_through(number)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes that the log's files take."""
        return self._segments.bytes_on_disk

    @property
    def full(self) -> str:
        """Why groups are refused, for a person; empty while the disk has room."""
        return self._segments.full

    @property
    def decision_room(self) -> int:
        """Bytes of decisions that a full disk still takes."""
        return self._segments.decision_room

    @property
    def commits(self) -> int:
        """Syncs so far: appends divided by these is the size of a group commit."""
        return self._commits

    def close(self) -> None:
        """Makes what was appended durable and closes. Blocks.

        Raises:
            LogBroken: the disk did not finish in time.
        """
        with self._lock:
            if self._refusal is None:
                self._refusal = LogBroken(f"the log in {self._directory} is closed")
                self._queue.put(None)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            raise LogBroken(f"the disk of {self._directory} has not finished writing in {_CLOSE_SECONDS:.0f} s")

    def _write(self) -> None:
        last = False
        while not last:
            batch, last = self._take()
            try:
                self._commit(batch)
                self._settle_in_time()
                if last:
                    self._segments.close()
            except BaseException as error:
                self._break(error, batch)
                if not isinstance(error, OSError):
                    raise
                return

    def _take(self) -> tuple[list[Append], bool]:
        """The next records to commit together, and whether they are the last."""
        batch: list[Append] = []
        taken = 0
        while taken < _COMMIT_BYTES and not (batch and self._queue.empty()):
            try:
                items = self._queue.get(timeout=None if batch else self._patience())
            except queue.Empty:
                break
            if items is None:
                return batch, True
            wanted = _not_cancelled(items)
            batch += wanted
            taken += sum(item.length for item in wanted)
        return batch, False

    def _commit(self, batch: list[Append]) -> None:
        placed: list[tuple[Append, Location]] = []
        for item in batch:
            if placed and not self._segments.fits(item.length, item.decision):
                # The segment is sealed then: what is in it counts before that.
                self._finish(placed)
                placed = []
            try:
                placed.append((item, self._segments.place(item.kind, item.parts, item.decision)))
            except LogFull as error:
                self._deliver(partial(item.done.set_exception, error))
        if placed:
            self._finish(placed)

    def _finish(self, placed: list[tuple[Append, Location]]) -> None:
        """Writes what was placed in one segment, waits for what the durability asks, and says so."""
        try:
            self._segments.flush()
        except LogFull as error:
            self._deliver(partial(_refuse, placed, error))
            return
        if self._durability == "sync":
            self._segments.sync()
        elif self._durability == "write":
            self._segments.sync_behind()
        # In the file before anyone is told, so that damage to what they were told of can be told from a torn write.
        self._segments.acknowledge()
        self._commits += 1
        self._deliver(partial(_resolve, placed))

    def deliver_by(self, deliver: Callable[[Callable[[], None]], object]) -> None:
        """Has futures resolved by `deliver`, all of a commit in one call, such as `loop.call_soon_threadsafe`.

        Until then the thread that writes resolves them, which costs it a turn of the interpreter for each.
        """
        self._deliver = deliver

    def _patience(self) -> float | None:
        """Seconds to wait for the next record before what was written is settled; None where nothing is to settle."""
        if self._durability == "none" or self._segments.settled:
            return None
        return max(0.0, self._settled_at + _SETTLE_SECONDS - time.monotonic())

    def _settle_in_time(self) -> None:
        if self._patience() == 0.0:
            self._segments.settle()
            self._settled_at = time.monotonic()

    def _break(self, cause: BaseException, batch: list[Append]) -> None:
        broken = LogBroken(f"the log in {self._directory} cannot be written: {cause}")
        broken.__cause__ = cause
        with self._lock:
            self._refusal = broken
        while not self._queue.empty():
            batch += _not_cancelled(self._queue.get() or ())
        self._deliver(partial(_fail_rest, batch, broken))
