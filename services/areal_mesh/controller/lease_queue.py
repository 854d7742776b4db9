"""Leases that wait for a place, first come first served: as many are woken as there are places.

Invariants:

- whoever waits and may lease is called before a later one gets a place;
- places are shared among those who wait, so that a publish, which makes room for a whole batch, feeds every engine and
  not the first few that ask for much;
- a call that ends while it is its turn passes its places on;
- no more than a few are called in one turn of the event loop: a publish that makes room for five hundred holds up
  nobody else's call.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_WAVE = 16  # calls that lease in one turn of the loop: each takes half a millisecond


class _Ticket:
    """One call that waits. `share`: groups it is called for, 0 while it is not."""

    def __init__(self, groups: int, may: Callable[[], bool]) -> None:
        self.groups = groups
        self.may = may
        self.share = 0
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class LeaseQueue:
    """The calls that wait.

    Args:
        places: groups that may be leased now.
        over: whether nothing will be leased any more.
    """

    def __init__(self, places: Callable[[], int], over: Callable[[], bool]) -> None:
        self._places = places
        self._over = over
        self._tickets: dict[_Ticket, None] = {}
        self._called = 0
        self._promised = 0

    def __len__(self) -> int:
        """Calls that wait."""
        return len(self._tickets)

    @asynccontextmanager
    async def turn(self, groups: int, may: Callable[[], bool], seconds: float) -> AsyncIterator[int]:
        """Waits for places, `seconds` at most, and gives how many of `groups` to lease within it, awaiting nothing.

        0: none came in time, or the run is over. `may`: whether the caller may lease, asked whenever there is room.
        Places that are left when it ends, for whatever reason, are the next one's.
        """
        share = await self._wait(groups, may, seconds)
        try:
            yield share
        finally:
            self.serve()

    async def _wait(self, groups: int, may: Callable[[], bool], seconds: float) -> int:
        if not self._tickets and may():
            free = min(groups, self._places())
            if free > 0:
                return free
        ticket = _Ticket(groups, may)
        self._tickets[ticket] = None
        share = 0
        try:
            self.serve()
            async with asyncio.timeout(seconds):
                while not share and not self._over():
                    await ticket.called
                    share = self._take(ticket)
        except TimeoutError:
            share = 0
        finally:
            del self._tickets[ticket]
            if ticket.share:
                self._uncall(ticket)
                self.serve()
        return share

    def _take(self, ticket: _Ticket) -> int:
        """What a call that was woken gets; 0, and it waits on, if its places are gone or it may not lease any more."""
        share = min(ticket.share, self._places()) if ticket.may() else 0
        if ticket.share:
            self._uncall(ticket)
        if not share:
            ticket.called = asyncio.get_running_loop().create_future()
            self.serve()
        return share

    def _uncall(self, ticket: _Ticket) -> None:
        self._called -= 1
        self._promised -= ticket.share
        ticket.share = 0

    def serve(self) -> None:
        """Calls whom there are places for, a wave at most; everybody once the run is over."""
        if self._over():
            for ticket in self._tickets:
                _call(ticket)
            return
        places = self._places() - self._promised if self._tickets else 0
        for ticket in self._able(min(places, _WAVE - self._called)):
            ticket.share = min(ticket.groups, max(1, places // (len(self._tickets) - self._called)))
            self._called += 1
            self._promised += ticket.share
            places -= ticket.share
            _call(ticket)

    def _able(self, most: int) -> list[_Ticket]:
        """Those who may lease and are not called yet, the first `most` of them."""
        able: list[_Ticket] = []
        for ticket in self._tickets:
            if len(able) >= most:
                break
            if not ticket.share and ticket.may():
                able.append(ticket)
        return able


def _call(ticket: _Ticket) -> None:
    if not ticket.called.done():
        ticket.called.set_result(None)
