"""Train-engine mismatch as a checked mode: what is said when it is over the settings' bounds. Pure.

`mismatch_kl` is the learner's figure on tokens that the engine sampled with the very weights that the learner had.
"""

from areal_mesh.runtime.settings import LearnerSettings

_CAUSES = (
    "learner and engine compute other probabilities with the same weights: compare model.dtype, the temperature and "
    "the attention kernels of both"
)


def mismatch_alarm(settings: LearnerSettings, mismatch_kl: float) -> str:
    """What a person is told while training goes on; empty where nothing is wrong."""
    return _over("learner.mismatch_alarm", settings.mismatch_alarm, mismatch_kl)


def mismatch_stop(settings: LearnerSettings, mismatch_kl: float) -> str:
    """Why the run ends; empty where it goes on."""
    return _over("learner.mismatch_stop", settings.mismatch_stop, mismatch_kl)


def _over(key: str, bound: float | None, measured: float) -> str:
    if bound is None or measured <= bound:
        return ""
    return f"mismatch_kl = {measured:.3g} is over {key} = {bound:g}: {_CAUSES}"
