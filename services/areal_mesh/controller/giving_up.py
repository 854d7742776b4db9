"""Why a run is given up: nothing will ever be trained on, or the learner is too far from the engine. Pure."""

from areal_mesh.controller.groups import GroupBook
from areal_mesh.controller.mismatch import mismatch_stop
from areal_mesh.controller.reasons import hopeless
from areal_mesh.runtime.settings import RunSettings


def why_given_up(settings: RunSettings, groups: GroupBook, mismatch_kl: float) -> str:
    """What the run ends for as it stands; empty where it goes on.

    Args:
        mismatch_kl: of the last step that measured it.
    """
    fruitless = hopeless(groups.fruitless, settings.controller.fruitless_groups, groups.counts)
    return fruitless or mismatch_stop(settings.learner, mismatch_kl)
