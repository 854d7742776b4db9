"""Why a rollout was judged as it was: graded once more, step by step, as the run's verifier does."""

from areal_mesh.grading.explanation import explain
from areal_mesh.grading.grade import rounded
from areal_mesh.grading.synchronous_pool import shared_pool
from areal_mesh.grading.verdict import GradeRequest
from areal_mesh.rollouts.values import Rollout
from areal_mesh.runtime.settings import RunSettings

_SECONDS = 30.0
NO_REFERENCE = "the log holds no reference of this problem: it was written before references were stored"


def explanation(rollout: Rollout, settings: RunSettings) -> list[str]:
    """The steps from response to verdict, a line each. Blocks; needs sympy."""
    if not rollout.references:
        return [NO_REFERENCE]
    verifier = settings.verifier
    golds = rounded(rollout.references) if verifier.rounded_golds else rollout.references
    request = GradeRequest(rollout.response, tuple(golds), verifier.protocol)
    pool = shared_pool()
    return explain(request, lambda one: pool.grade_many([one], _SECONDS)[0])
