"""A KL term beside any policy loss.

    loss = policy loss + beta * sum over t of w_t k(log pi(t) - log pi_ref(t))

k is an estimator of `kl.estimators` (GRPO's is k3), with gradient; w_t are the weights of the mean over the global
minibatch. There is no importance weight, as in GRPO (Shao et al. 2024): on stale tokens the estimate is biased.
"""

from dataclasses import dataclass, replace

from areal_mesh.learner.kl.estimators import kl_estimate
from areal_mesh.learner.losses.figures import also
from areal_mesh.learner.losses.inputs import Loss, LossInputs, LossOutputs
from areal_mesh.runtime.settings.kl import KlLossSettings


@dataclass(frozen=True)
class WithKlTerm:
    """A policy loss and the KL term. Its own figure: `kl_loss`, the mean of k over tokens."""

    policy_loss: Loss
    settings: KlLossSettings

    @property
    def needs_proximal(self) -> bool:
        """Whether the policy loss needs it."""
        return self.policy_loss.needs_proximal

    @property
    def needs_reference(self) -> bool:
        """Always."""
        return True

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        assert inputs.reference_log_probs is not None
        outputs = self.policy_loss(inputs)
        estimates = kl_estimate(self.settings.estimator, inputs.log_probs, inputs.reference_log_probs)
        term = self.settings.coefficient * (estimates * inputs.token_weights).sum()
        return replace(outputs, loss=outputs.loss + term, figures=also(outputs.figures, {"kl_loss": estimates}))
