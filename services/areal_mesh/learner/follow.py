"""Process of a learner rank other than 0: `python -m areal_mesh.learner.follow SETTINGS.json`."""

import sys

from areal_mesh.learner.ranks import follow
from areal_mesh.runtime.settings import load_settings

if __name__ == "__main__":
    follow(load_settings(sys.argv[1]))
