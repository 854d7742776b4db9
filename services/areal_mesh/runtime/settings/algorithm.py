"""The algorithm: batch, sampling, reward, loss, advantage and the bound of asynchrony. Defaults are AReaL v0.1.1's."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from areal_mesh.runtime.settings.advantages import AdvantageSettings, ArealAdvantageSettings, WithKlReward
from areal_mesh.runtime.settings.base import Settings, kinds
from areal_mesh.runtime.settings.filters import FilterList
from areal_mesh.runtime.settings.kl import KlLossSettings
from areal_mesh.runtime.settings.losses import DecoupledPpoSettings, LossSettings
from areal_mesh.runtime.settings.overlong import OverlongSettings

Average = Literal["tokens", "responses", "limit"]
"""What a minibatch's loss is a mean over."""
RejectedPart = Literal["minibatch", "micro_batch"]
"""What gives no gradient where its mean ratio is too large."""


class AlgorithmSettings(Settings):
    """Policy optimisation without a critic, gamma = lambda = 1 (AReaL v0.1)."""

    batch_groups: int = Field(default=1024, gt=0)
    """Prompts a step."""
    responses: int = Field(default=8, gt=0)
    """Responses to each prompt: the group's size."""
    temperature: float = Field(default=0.6, gt=0, le=2)
    """Of the sampling; the learner's probabilities are at the same temperature."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """1: the learner's probabilities are of the whole vocabulary, and ratios to those of a nucleus mean nothing."""
    max_staleness: int = Field(default=1, ge=0)
    """Bound: learner's version less the oldest version in a group. 0 is the synchronous loop."""
    loss: LossSettings = DecoupledPpoSettings()
    """What an update minimises."""
    average: Average = "tokens"
    """The loss is a mean over the tokens of the global minibatch; over its responses, each by its own mean (GRPO); or a
    sum over tokens divided by the response limit of each response, whatever its length (Dr. GRPO)."""
    kl_loss: KlLossSettings | None = None
    """A KL term in the loss; left out, there is none."""
    advantage: AdvantageSettings = ArealAdvantageSettings()
    """How rewards become advantages."""
    overlong: OverlongSettings | None = None
    """What becomes of responses near the limit or cut by it; left out, they are as any other."""
    filters: FilterList = []
    """What leaves groups out before they are stored, such as `["equal_verdicts"]`; others are leased instead."""
    oversampling: float = Field(default=1.0, ge=1, le=8)
    """Groups that run for each place they may take: over 1, filtered ones are made up for before they end. What then
    is stored beyond the bound of `max_staleness` grows too old and is dropped, which costs its tokens."""
    minibatches: int = Field(default=4, gt=0)
    """That a batch is cut into; each is an update."""
    minibatch_by: Literal["response", "group"] = "response"
    """What is cut up. By `group`, the responses to a prompt stay in one minibatch, so that its tokens are computed once
    for all of them; a batch of fewer groups than `minibatches` has as many updates as groups."""
    batch_epochs: int = Field(default=1, gt=0)
    """How often a step goes over its batch (PPO's epochs): fewer rollouts for the same updates, which stray further
    from the policy that sampled them."""
    reward_scale: float = 5.0
    """Half the distance between the rewards of a correct and an incorrect response."""
    reward_bias: float = 0.0
    """Reward = (s - bias) * scale, s = +1 for a correct response and -1 for an incorrect one."""
    reward_clip: float = Field(default=20.0, gt=0)
    """The sum of all terms of a reward is cut to this, either way."""
    rejected_part: RejectedPart = "minibatch"
    """What gives no gradient where its mean ratio is over 5: the whole minibatch, on all ranks, however it is packed;
    or the micro-batch, as in AReaL v0.1: what is left of the minibatch counts as it would have."""
    update_on_equal_rewards: bool = False
    """Whether a batch whose rewards are all equal (for a group estimate: those of each group) updates the weights, as
    in AReaL v0.1, though nothing but noise is left of its advantages. Else it makes a version without an update."""
    shuffle_rewards: bool = False
    """Control experiment: rewards of a batch are shuffled among its responses, so that there is nothing to learn."""

    @property
    def updates(self) -> int:
        """Updates a step."""
        return self.minibatches * self.batch_epochs

    @field_validator("top_p")
    @classmethod
    def _whole_distribution(cls, value: float) -> float:
        if value != 1:
            raise ValueError(
                "the learner's probabilities are of the whole vocabulary, so ratios to those of a nucleus would be "
                "wrong for every token; leave it 1"
            )
        return value

    @model_validator(mode="after")
    def _loss_and_advantage_fit(self) -> Self:
        if self.max_staleness > 0 and not self.loss.fits_stale_rollouts:
            fitting = [name for name, loss in kinds(LossSettings).items() if loss.fits_stale_rollouts]
            raise ValueError(
                f'loss.type = "{self.loss.type}" with max_staleness = {self.max_staleness}: stale rollouts need one of '
                f"{', '.join(fitting)}, or max_staleness = 0"
            )
        twice = [section.type for section in self.filters]
        if len(set(twice)) < len(twice):
            raise ValueError(f"filters: {', '.join(twice)}: each may stand once; take one out")
        if self.responses < 2 and "equal_verdicts" in twice:
            raise ValueError(
                'filters: "equal_verdicts" with responses = 1: one response is all right or all wrong, and every group '
                "would be left out; set responses to at least 2, or take the filter out"
            )
        if self.responses < 2 and self.advantage.compares_a_group:
            raise ValueError(
                f'advantage.type = "{self.advantage.type}" with responses = {self.responses}: it compares the '
                "responses of a group; set responses to at least 2"
            )
        return self

    @model_validator(mode="after")
    def _one_distance_to_the_reference(self) -> Self:
        rewards = self.advantage.kl_coefficient if isinstance(self.advantage, WithKlReward) else 0.0
        if self.kl_loss is not None and rewards > 0:
            raise ValueError(
                f"kl_loss with advantage.kl_coefficient = {rewards}: the distance to the reference would count in the "
                "rewards and in the loss; set advantage.kl_coefficient to 0, or kl_loss to none"
            )
        return self
