"""Settings of the policy losses, one model each, chosen by `type`; `learner/losses/` computes them."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from areal_mesh.runtime.settings.base import Settings


class _Clipped(Settings):
    """What the losses with PPO's clip have."""

    clip: float = Field(default=0.2, gt=0, lt=1)
    """A ratio gives no gradient under 1 - this where it would fall, nor over 1 + this where it would rise."""
    clip_high: float | None = Field(default=None, gt=0)
    """The bound above, where it is another than `clip` (DAPO's clip-higher: 0.28)."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Most that a token of negative advantage loses, in units of its advantage; left out, there is no such bound."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which the ratio is not clipped."""
        return 1.0 - self.clip, 1.0 + (self.clip if self.clip_high is None else self.clip_high)


class PpoSettings(_Clipped):
    """Clipped PPO against the behaviour policy: for synchronous runs."""

    fits_stale_rollouts: ClassVar[bool] = False
    type: Literal["ppo"] = "ppo"


class DecoupledPpoSettings(_Clipped):
    """Clipped PPO round the proximal policy, weighted by pi_prox / pi_behav: for stale rollouts."""

    fits_stale_rollouts: ClassVar[bool] = True
    type: Literal["decoupled_ppo"] = "decoupled_ppo"
    behaviour_weight_cap: float | None = Field(default=None, gt=0)
    """Tokens whose pi_prox / pi_behav is over this are masked; none are where it is left out."""


class TruncatedImportanceSamplingSettings(_Clipped):
    """Clipped PPO round the proximal policy, weighted by pi_prox / pi_behav cut to a cap: for stale rollouts."""

    fits_stale_rollouts: ClassVar[bool] = True
    type: Literal["truncated_importance_sampling"] = "truncated_importance_sampling"
    weight_cap: float = Field(default=2.0, gt=0)
    """The weight pi_prox / pi_behav of a token is cut to this."""


class CispoSettings(Settings):
    """Clipped importance weights on the policy gradient: every token keeps its gradient; for stale rollouts."""

    fits_stale_rollouts: ClassVar[bool] = True
    type: Literal["cispo"] = "cispo"
    weight_cap: float = Field(default=5.0, gt=1)
    """The weight pi / pi_behav of a token is cut to this."""


class GspoSettings(Settings):
    """A clipped ratio of whole responses round the proximal policy (GSPO): for stale rollouts."""

    fits_stale_rollouts: ClassVar[bool] = True
    type: Literal["gspo"] = "gspo"
    clip: float = Field(default=3e-4, gt=0, lt=1)
    """Of the geometric mean of a response's ratios, below 1."""
    clip_high: float = Field(default=4e-4, gt=0)
    """And above 1."""
    weight_cap: float = Field(default=2.0, gt=0)
    """The weight of a response, the geometric mean of its pi_prox / pi_behav, is cut to this."""


class DppoSettings(Settings):
    """The policy gradient without tokens whose probability has moved too far already (DPPO): for stale rollouts."""

    fits_stale_rollouts: ClassVar[bool] = True
    type: Literal["dppo"] = "dppo"
    mask_low: float = Field(default=0.2, ge=0, le=1)
    """A token that is to become less likely is masked once its probability has fallen by more than this."""
    mask_high: float = Field(default=0.2, ge=0, le=1)
    """A token that is to become likelier is masked once its probability has risen by more than this."""
    squared_log_ratio: float = Field(default=1e-3, ge=0)
    """Weight of the mean of log^2 (pi / pi_behav), over masked tokens too."""


LossSettings = Annotated[
    PpoSettings
    | DecoupledPpoSettings
    | TruncatedImportanceSamplingSettings
    | CispoSettings
    | GspoSettings
    | DppoSettings,
    Field(discriminator="type"),
]
"""Each says whether it fits stale rollouts: whether it corrects for the distance between the behaviour policy and the
one before the step."""
