"""How a supervisor answers the end of a process: pure decisions, no process and no clock.

Invariants:
- an end that would repeat itself (exit code 78) is never tried again;
- the first restart in a while is immediate, later ones wait longer and longer, up to a bound;
- a process that ends too often within the window is given up.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from areal_mesh.runtime.service import EXIT_CANNOT_START


class Verdict(StrEnum):
    """What follows the end of a process."""

    DONE = "done"
    RESTART = "restart"
    CANNOT_START = "cannot start"
    GIVE_UP = "give up"


@dataclass(frozen=True)
class Decision:
    """A verdict, and for a restart the seconds to wait before it."""

    verdict: Verdict
    delay_seconds: float = 0.0


@dataclass(frozen=True)
class RestartPolicy:
    """Bounds of restarting one process."""

    most_restarts: int = 8
    """Restarts within the window; the next end after so many is final."""
    window_seconds: float = 300.0
    first_backoff_seconds: float = 0.5
    last_backoff_seconds: float = 15.0

    def decide(self, exit_code: int, restarts: Sequence[float], now: float) -> Decision:
        """What follows an end with `exit_code`, negative for a signal, after `restarts` at these times (as `now`)."""
        if exit_code == 0:
            return Decision(Verdict.DONE)
        if exit_code == EXIT_CANNOT_START:
            return Decision(Verdict.CANNOT_START)
        recent = sum(now - time <= self.window_seconds for time in restarts)
        if recent >= self.most_restarts:
            return Decision(Verdict.GIVE_UP)
        if recent == 0:
            return Decision(Verdict.RESTART)
        backoff = self.first_backoff_seconds * 2 ** (recent - 1)
        return Decision(Verdict.RESTART, min(backoff, self.last_backoff_seconds))


def describe_exit(exit_code: int) -> str:
    """An exit code in words: `exit code 1`, `killed by SIGKILL`."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    known = {number.value: number.name for number in signal.Signals}
    return f"killed by {known.get(-exit_code, f'signal {-exit_code}')}"
