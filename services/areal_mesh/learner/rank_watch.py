"""Each rank says that it lives, and notices within seconds who does not any more.

A collective that a dead, cut off or stopped rank never joins would else hang for as long as its own timeout, which has
to allow for the longest step. Ranks count up a key of the store; the leader reads all of them, the others the leader's.
"""

import threading
import time
from collections.abc import Callable, Sequence

from torch._C._distributed_c10d import Store

_BEAT_SECONDS = 1.0


class RankWatch:
    """Beats for one rank and watches others, from `start` to `stop`.

    The store is asked on one thread, for a call to a host that was cut off does not return; another one judges.

    Args:
        store: a connection that nothing else uses.
        watched: ranks whose beats are read.
        lost_seconds: silence after which a rank is lost.
        on_loss: told once what was lost, on a thread of the watch.
    """

    def __init__(
        self, store: Store, rank: int, watched: Sequence[int], lost_seconds: float, on_loss: Callable[[str], None]
    ) -> None:
        self._store = store
        self._rank = rank
        self._lost_seconds = lost_seconds
        self._on_loss = on_loss
        self._stopped = threading.Event()
        began = time.monotonic()
        self._answered = began
        """When the store last answered."""
        self._beats = dict.fromkeys(watched, (0, began))
        """By rank: its count, and since when it stands."""
        self._failure = ""
        self._threads = [
            threading.Thread(target=work, name=f"rank-watch-{work.__name__}", daemon=True)
            for work in (self._ask, self._judge)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Watch no more: what ends from now on ends as it should."""
        self._stopped.set()

    def _ask(self) -> None:
        try:
            while not self._stopped.wait(_BEAT_SECONDS):
                self._store.add(_key(self._rank), 1)
                for rank in self._beats:
                    count = self._store.add(_key(rank), 0)
                    if count != self._beats[rank][0]:
                        self._beats[rank] = (count, time.monotonic())
                self._answered = time.monotonic()
        except RuntimeError as error:
            self._failure = f"rank {self._rank} lost the store of rank 0: {error}"

    def _judge(self) -> None:
        while not self._stopped.wait(_BEAT_SECONDS):
            if lost := self._failure or self._silence(time.monotonic()):
                self._on_loss(lost)
                return

    def _silence(self, now: float) -> str:
        if now - self._answered > self._lost_seconds:
            return f"the store of rank 0 gave rank {self._rank} no answer in {self._lost_seconds:g} s: is it cut off?"
        lost = [rank for rank, (_, since) in self._beats.items() if now - since > self._lost_seconds]
        return f"ranks {lost} were silent for {self._lost_seconds:g} s: dead, stopped or cut off" if lost else ""


def _key(rank: int) -> str:
    return f"alive/{rank}"
