"""Processes of the learner's ranks on one host."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from areal_mesh.learner.places import Place, places_of_host
from areal_mesh.runtime.settings import RunSettings

_POLL_SECONDS = 0.5
_END_SECONDS = 30.0


class RankEnded(RuntimeError):
    """A rank of this host ended by itself; its own last line says why."""


def start_followers(settings: RunSettings, places: Sequence[Place]) -> list[subprocess.Popen[bytes]]:
    """Start ranks of this host, a process each, which die with this one."""
    first = places[0].rank if places else 0
    config = settings.run_directory / f"learner-ranks-{first}.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(settings.model_dump_json(indent=2), encoding="utf-8")
    command = [sys.executable, "-m", "areal_mesh.learner.follow", str(config), str(os.getpid())]
    return [subprocess.Popen([*command, place.encode()]) for place in places]


def run_host(settings: RunSettings, host: int) -> None:
    """Run the ranks of a host other than the leader's until the leader stops them, or SIGTERM does.

    Raises RanksNotPlaced (see `places_of_host`); RankEnded: the other ranks of this host are then ended too, for the
    whole group starts again.
    """
    places = places_of_host(settings.learner, host)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopped.append(number))
    ranks = start_followers(settings, places)
    try:
        running = True
        while running and not stopped:
            time.sleep(_POLL_SECONDS)
            # Asked before the exit codes are: one that ends between counts in the next turn.
            running = any(rank.poll() is None for rank in ranks)
            if failed := [place.rank for place, rank in zip(places, ranks, strict=True) if rank.poll()]:
                raise RankEnded(f"learner ranks {failed} of host {host} ended; their last lines say why")
    finally:
        for rank in ranks:
            rank.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                rank.wait(timeout=_END_SECONDS)
