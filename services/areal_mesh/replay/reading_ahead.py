"""The groups of a batch off the disk: some MB a turn of a thread, the next of them while the last are sent."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from areal_mesh.replay.log import DurableLog
from areal_mesh.replay.records import Location
from areal_mesh.replay.segment_file import CorruptLog
from areal_mesh.replay.state import BufferState
from areal_mesh.runtime.errors import failed_precondition

# A turn of a thread costs as much as reading half a MB; a draw holds two turns' worth in memory. The first, for which
# the caller waits, is short.
_FIRST_TURN_BYTES = 1 << 20
_TURN_BYTES = 4 << 20


class BatchReader:
    """Reads groups where the state says that they lie.

    Args:
        fail: is told of what makes the log unusable.
    """

    def __init__(self, log: DurableLog, state: BufferState, fail: Callable[[BaseException], None]) -> None:
        self._log = log
        self._state = state
        self._fail = fail

    async def read(self, group_ids: Sequence[str], of_record: Callable[[bytes], bytes]) -> AsyncIterator[bytes]:
        """What `of_record` makes of the record of each group, in order.

        Raises:
            MeshError: FAILED_PRECONDITION where one was released meanwhile.
            CorruptLog: the disk gives other bytes than were written.
        """
        turns = deque(self._turns(group_ids))
        ahead = self._begin(turns, of_record)
        try:
            while ahead is not None:
                found = await self._end(*ahead)
                ahead = self._begin(turns, of_record)
                for item in found:
                    yield item
        finally:
            if ahead is not None:
                ahead[1].cancel()

    def _turns(self, group_ids: Sequence[str]) -> Iterator[list[str]]:
        turn: list[str] = []
        size, most = 0, _FIRST_TURN_BYTES
        for group_id in group_ids:
            if turn and size >= most:
                yield turn
                turn, size, most = [], 0, _TURN_BYTES
            turn.append(group_id)
            size += self._location(group_id).length
        if turn:
            yield turn

    def _begin(
        self, turns: deque[list[str]], of_record: Callable[[bytes], bytes]
    ) -> tuple[list[str], asyncio.Future[list[bytes]]] | None:
        if not turns:
            return None
        group_ids = turns.popleft()
        locations = [self._location(group_id) for group_id in group_ids]

        def read() -> list[bytes]:
            return [of_record(record) for record in self._log.read(locations)]

        return group_ids, asyncio.get_running_loop().run_in_executor(None, read)

    async def _end(self, group_ids: Sequence[str], reading: asyncio.Future[list[bytes]]) -> list[bytes]:
        try:
            return await reading
        except FileNotFoundError:
            for group_id in group_ids:
                self._location(group_id)
            raise
        except CorruptLog as error:
            # The log is read anew from its start, which tells damage of the disk from a fault on the way.
            self._fail(error)
            raise

    def _location(self, group_id: str) -> Location:
        location = self._state.location(group_id)
        if location is None:
            raise failed_precondition(f"group {group_id} was released while it was drawn")
        return location
