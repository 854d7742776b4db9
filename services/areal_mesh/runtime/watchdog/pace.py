"""How long a step takes, from the policy versions that a service hears of. Pure; time comes in as an argument."""

from collections import deque
from statistics import median

_STEPS = 32


class Pace:
    """The median time between the last steps."""

    def __init__(self) -> None:
        self._version: int | None = None
        self._since = 0.0
        self._seconds: deque[float] = deque(maxlen=_STEPS)

    def hear(self, version: int, now: float) -> None:
        """Takes in the run's version. Several steps between two looks share the time between them."""
        if self._version is not None and version > self._version:
            steps = min(version - self._version, _STEPS)
            self._seconds.extend([(now - self._since) / steps] * steps)
        if version != self._version:
            self._version, self._since = version, now

    @property
    def step_seconds(self) -> float | None:
        """The median; None before the second version was heard."""
        return median(self._seconds) if self._seconds else None
