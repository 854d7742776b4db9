"""Calls that wait, counted: so many of one caller and so many in all, whatever callers do."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from areal_mesh.runtime.errors import resource_exhausted

_RETRY_SECONDS = 1.0


@dataclass
class WaitingCalls:
    """The calls that wait. A caller has one, and a few more where attempts were cut off and are not gone yet."""

    most_of_one: int = 16
    most: int = 8_192
    """Two for each member that there may be."""
    _waiting: Counter[str] = field(default_factory=Counter)
    _total: int = 0

    @contextmanager
    def one_more(self, caller: str) -> Iterator[None]:
        """Counts a call of `caller` while it waits.

        Raises:
            MeshError: RESOURCE_EXHAUSTED, too many wait already.
        """
        if self._waiting[caller] >= self.most_of_one or self._total >= self.most:
            raise resource_exhausted(
                f"{self._waiting[caller]} calls of {caller} wait, {self._total} in all; no more are taken",
                _RETRY_SECONDS,
            )
        self._waiting[caller] += 1
        self._total += 1
        try:
            yield
        finally:
            self._total -= 1
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller]
