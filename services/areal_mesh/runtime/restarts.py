"""How a supervisor answers the end of a process: pure decisions, no process and no clock.

Invariants:
- an end that would repeat itself (exit code 78) is never tried again;
- the first restart after the run got something done is immediate, later ones wait longer and longer, up to a bound;
- a process that ends too often while the run gets nothing done is given up, and sooner where each life says the same.
"""

import re
import signal
from dataclasses import dataclass
from enum import StrEnum

from areal_mesh.runtime.exits import EXIT_CANNOT_START


class Reaction(StrEnum):
    """What follows the end of a process."""

    DONE = "done"
    RESTART = "restart"
    CANNOT_START = "cannot start"
    GIVE_UP = "give up"


@dataclass(frozen=True)
class Decision:
    """A reaction, and for a restart the seconds to wait before it."""

    reaction: Reaction
    delay_seconds: float = 0.0


@dataclass
class Ends:
    """The ends of one process since the run last got something done."""

    count: int = 0
    alike: int = 0
    """How many of them, the last included, gave the same cause in a row. A kill from outside gives none."""
    _progress: object = None
    _cause: str = ""

    def add(self, exit_code: int, last_line: str, progress: object) -> None:
        """Counts an end.

        Args:
            last_line: of what the process printed.
            progress: differs from what it was at the end before if the run got something done in between.
        """
        if progress != self._progress:
            self.count, self.alike, self._cause = 0, 0, ""
        self._progress = progress
        self.count += 1
        # Numbers of processes and ports differ from life to life.
        cause = re.sub(r"\d+", "0", last_line) if exit_code > 0 else ""
        self.alike = (self.alike + 1 if cause == self._cause else 1) if cause else 0
        self._cause = cause


@dataclass(frozen=True)
class RestartPolicy:
    """Bounds of restarting one process."""

    most_restarts: int = 8
    """While the run gets nothing done; the next end after so many is final."""
    most_alike: int = 3
    """Lives in a row that end for the same cause while the run gets nothing done; a fourth would say it again."""
    first_backoff_seconds: float = 0.5
    last_backoff_seconds: float = 15.0

    def decide(self, exit_code: int, ends: Ends) -> Decision:
        """What follows an end with `exit_code`, negative for a signal, which `ends` counts already."""
        if exit_code == 0:
            return Decision(Reaction.DONE)
        if exit_code == EXIT_CANNOT_START:
            return Decision(Reaction.CANNOT_START)
        if ends.count > self.most_restarts or ends.alike >= self.most_alike:
            return Decision(Reaction.GIVE_UP)
        if ends.count <= 1:
            return Decision(Reaction.RESTART)
        backoff = self.first_backoff_seconds * 2 ** (ends.count - 2)
        return Decision(Reaction.RESTART, min(backoff, self.last_backoff_seconds))


def describe_exit(exit_code: int) -> str:
    """An exit code in words: `exit code 1`, `killed by SIGKILL`."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    known = {number.value: number.name for number in signal.Signals}
    return f"killed by {known.get(-exit_code, f'signal {-exit_code}')}"
