"""Ranks of the learner other than the leader, which serve nothing: `areal-mesh serve learner --node-rank 1`.

`python -m areal_mesh.learner.follow SETTINGS.json LEADER PLACE` is the process of one. LEADER is the process that
started it: without it this rank would wait for the next collective for hours.
"""

import sys

from areal_mesh.learner.places import Place, place_from_torchrun
from areal_mesh.learner.rank_processes import run_host
from areal_mesh.learner.ranks import follow
from areal_mesh.runtime.orphans import die_with_parent
from areal_mesh.runtime.settings import RunSettings, load_settings


def serve_followers(settings: RunSettings, host: int) -> None:
    """The ranks of a host that does not lead, or the one rank that `torchrun` started, until the leader stops them.

    Raises RanksNotPlaced where the settings do not say how they meet, RuntimeError when a rank ends by itself.
    """
    place = place_from_torchrun()
    if place is not None:
        follow(settings, place)
    else:
        run_host(settings, host)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))
    follow(load_settings(sys.argv[1]), Place.decode(sys.argv[3]))
