"""Time, injected: a monotonic clock for leases and deadlines, a unix clock for what is written down."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


def steady_unix(
    unix: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """A unix clock that is read once, and then goes on by the monotonic one.

    Setting the machine's clock makes no interval longer or shorter while the process lives.
    """
    offset = unix() - monotonic()
    return lambda: monotonic() + offset


@dataclass(frozen=True)
class Clock:
    """Two clocks, in seconds. `monotonic` never goes back and is compared with itself alone; `unix` is written down.

    Two readings of `unix` in one life of the controller tell how long it was between them; in two lives they do not.
    """

    monotonic: Callable[[], float] = time.monotonic
    unix: Callable[[], float] = field(default_factory=steady_unix)
