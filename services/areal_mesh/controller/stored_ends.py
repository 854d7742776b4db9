"""Ends of stored groups, written together: those that come within some milliseconds are one transaction.

A transaction costs five times what a group in it does, and a run of hundreds of generators ends hundreds of groups a
second. A caller is answered once its group is in the ledger, and a write that fails fails for all who are in it.
"""

import asyncio

from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.groups import GroupBook

# A group takes seconds to minutes, and no place in admission depends on its end: nobody notices this.
_WAIT_SECONDS = 0.01


class StoredEnds:
    """Takes ends of stored groups, and has `groups` note them."""

    def __init__(self, groups: GroupBook) -> None:
        self._groups = groups
        self._waiting: list[tuple[str, StoredFigures, asyncio.Future[None]]] = []

    async def store(self, group_id: str, figures: StoredFigures) -> None:
        """Returns once the group is noted as stored.

        Raises:
            MeshError: NOT_FOUND, no such group was ever leased; RESOURCE_EXHAUSTED, the ledger's disk is full.
        """
        self._groups.row(group_id)  # one that never was would fail the others too
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_later(_WAIT_SECONDS, self._write)
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append((group_id, figures, written))
        await written

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        failure: BaseException | None = None
        try:
            self._groups.store_all((group_id, figures) for group_id, figures, _ in waiting)
        except Exception as error:  # noqa: BLE001 each caller raises it
            failure = error
        for _, _, written in waiting:
            if written.done():
                continue  # its caller is gone
            if failure is None:
                written.set_result(None)
            else:
                written.set_exception(failure)
