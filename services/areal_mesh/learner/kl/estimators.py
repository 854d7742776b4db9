"""Estimators of KL(policy || reference) from the policy's own tokens (Schulman 2020).

    d  = logp - logp_ref
    k1 = d                    unbiased; of either sign
    k2 = d^2 / 2              never negative; its gradient is that of the KL where the tokens are the policy's own
    k3 = exp(-d) - 1 + d      unbiased and never negative

In a reward any of them is a number. In a loss the gradient counts: that of k1 is the score alone, whose mean over the
policy's own tokens is 0; that of k2 is unbiased; that of k3 is the one of KL(reference || policy) there.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from areal_mesh.learner.losses.figures import log_ratio
from areal_mesh.runtime.settings.kl import KlEstimator


def k1(distance: Tensor) -> Tensor:
    """d, [tokens]."""
    return distance


def k2(distance: Tensor) -> Tensor:
    """d^2 / 2, [tokens]."""
    return distance.square() / 2


def k3(distance: Tensor) -> Tensor:
    """exp(-d) - 1 + d, [tokens]; expm1 keeps the digits of a small d."""
    return (-distance).expm1() + distance


ESTIMATORS: Mapping[KlEstimator, Callable[[Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


def kl_estimate(estimator: KlEstimator, log_probs: Tensor, reference: Tensor) -> Tensor:
    """The estimate at every token, in the dtype of `log_probs`; the distance is bounded as in `log_ratio`."""
    return ESTIMATORS[estimator](log_ratio(log_probs, reference))
