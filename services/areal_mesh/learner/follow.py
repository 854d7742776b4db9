"""Process of a learner rank other than 0: `python -m areal_mesh.learner.follow SETTINGS.json LEADER`.

LEADER is the process id of rank 0: without it this rank would wait for the next collective for hours.
"""

import sys

from areal_mesh.learner.ranks import follow
from areal_mesh.runtime.orphans import die_with_parent
from areal_mesh.runtime.settings import load_settings

if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))
    follow(load_settings(sys.argv[1]))
