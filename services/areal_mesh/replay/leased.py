"""What a group has to keep of its lease and of the run's settings. Pure.

A group that passes was leased by the controller with this id, sequence, prompt, stage, temperature and number of
responses; its tokens are the model's, no response is over its limit, and no reward is one that the settings cannot
give. So whatever a learner draws it can train on and commit.
"""

from dataclasses import dataclass

from areal_mesh.replay.numbers import GroupNumbers
from areal_mesh.runtime.errors import invalid_argument
from areal_mesh.runtime.lease_seal import LeaseTerms, is_sealed
from areal_mesh.runtime.model_config import vocabulary_size
from areal_mesh.runtime.reward_range import reward_range
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import rollout_pb2

_TOKEN_BYTES = 4
# What rounding makes of a probability of 1; the learner takes no more either.
_LARGEST_LOG_PROB = 1e-3


@dataclass(frozen=True)
class GroupLimits:
    """What the run's settings allow in a group. `vocabulary`: None where this machine does not have the model."""

    vocabulary: int | None
    lowest_reward: float
    highest_reward: float
    max_prompt_tokens: int


def group_limits(settings: RunSettings) -> GroupLimits:
    """The limits of a run. Reads the model's config.json."""
    lowest, highest = reward_range(settings)
    return GroupLimits(vocabulary_size(settings.model.folder), lowest, highest, settings.prompts.max_prompt_tokens)


def check_leased(group: rollout_pb2.Group, seal: bytes, key: bytes) -> None:
    """Raises INVALID_ARGUMENT unless the controller leased the group as it is."""
    terms = LeaseTerms(
        group_id=group.group_id,
        sequence=group.sequence,
        prompt_id=group.prompt_id,
        stage=group.stage.index,
        max_response_tokens=group.stage.max_response_tokens,
        responses=len(group.responses),
        temperature=group.temperature,
    )
    if not is_sealed(key, terms, seal):
        raise invalid_argument(
            "lease_seal",
            f"is not of a lease of {group.group_id}: a group keeps the id, sequence, prompt, stage, temperature and "
            "number of responses that the controller leased, and comes with the seal of that lease",
        )


def check_limits(group: rollout_pb2.Group, numbers: GroupNumbers, limits: GroupLimits) -> None:
    """Raises INVALID_ARGUMENT where the group passes a limit of its run. The group is one of `check_group`."""
    limit = group.stage.max_response_tokens
    for index, response in enumerate(group.responses):
        path = f"group.responses[{index}]"
        if response.length > limit:
            raise invalid_argument(f"{path}.length", f"{response.length} tokens; its lease allows {limit}")
        reward = response.verdict.reward
        if not limits.lowest_reward <= reward <= limits.highest_reward:
            raise invalid_argument(
                f"{path}.verdict.reward",
                f"{reward:g}; rewards of this run are {limits.lowest_reward:.6g} to {limits.highest_reward:.6g}",
            )
    prompt = len(group.prompt_token_ids) // _TOKEN_BYTES
    if prompt > limits.max_prompt_tokens:
        raise invalid_argument(
            "group.prompt_token_ids", f"{prompt} tokens; prompts.max_prompt_tokens = {limits.max_prompt_tokens}"
        )
    _check_numbers(numbers, limits.vocabulary)


def _check_numbers(numbers: GroupNumbers, vocabulary: int | None) -> None:
    for name, largest in (
        ("prompt_token_ids", numbers.largest_prompt_token),
        ("response_token_ids", numbers.largest_response_token),
    ):
        if vocabulary is not None and largest >= vocabulary:
            raise invalid_argument(f"group.{name}", f"holds token {largest}; the model has 0 to {vocabulary - 1}")
    if numbers.highest_log_prob > _LARGEST_LOG_PROB:
        raise invalid_argument(
            "group.behaviour_log_probs", f"holds {numbers.highest_log_prob:g}; logarithms are at most 0"
        )
