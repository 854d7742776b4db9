"""Services that may be on their way to the controller: those it waits for, so that each is told of the run's end. Pure.

Invariants:

- a service of an earlier life of the controller is awaited until it has registered or was told that the run is over;
- so is one that has announced itself: it loads a model, perhaps, and asks again.
"""

from collections.abc import Iterable

_MOST = 4096
"""Services awaited at once: more than a mesh has, and a bound to what a caller can make the controller keep."""


class Arrivals:
    """Names of awaited services. `known`: those that the ledger has seen."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._awaited = set(known)

    @property
    def awaited(self) -> frozenset[str]:
        """Those that may come yet."""
        return frozenset(self._awaited)

    def announced(self, service_id: str) -> None:
        """Notes that a service starts, and will register."""
        if len(self._awaited) < _MOST:
            self._awaited.add(service_id)

    def settled(self, service_id: str) -> None:
        """Notes that a service has registered, or was told that the run needs it no more."""
        self._awaited.discard(service_id)
