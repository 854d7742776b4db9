"""Time, injected: a monotonic clock for leases and deadlines, a unix clock for what is written down."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """`monotonic` never goes back and is compared only with itself; `unix` is written to the ledger. Seconds."""

    monotonic: Callable[[], float] = time.monotonic
    unix: Callable[[], float] = time.time
