"""Groups become the batch that their generator meant, and damaged ones are refused by name."""

import pytest
import torch

from areal_mesh.learner.batches.decoding import DamagedGroupError, decode_batch, shuffle_rewards, token_versions
from areal_mesh.learner.batches.figures import batch_figures, staleness_histogram
from areal_mesh.runtime.groups import encode_float32, encode_int32, oldest_policy_version, payload_crc32c
from areal_mesh.v1 import rollout_pb2

Spans = list[tuple[int, int, int]]


def make_group(
    group_id: str, prompt: list[int], responses: list[tuple[list[int], Spans, float, bool]]
) -> rollout_pb2.Group:
    tokens = [token for response in responses for token in response[0]]
    group = rollout_pb2.Group(
        group_id=group_id,
        prompt_token_ids=encode_int32(prompt),
        response_token_ids=encode_int32(tokens),
        behaviour_log_probs=encode_float32([-0.5 * (index + 1) for index in range(len(tokens))]),
    )
    group.stage.max_response_tokens = 3
    for response_tokens, spans, reward, truncated in responses:
        info = group.responses.add(length=len(response_tokens))
        info.finish_reason = rollout_pb2.FINISH_REASON_LENGTH if truncated else rollout_pb2.FINISH_REASON_STOP
        info.verdict.reward = reward
        info.verdict.status = rollout_pb2.VERDICT_STATUS_CORRECT if reward > 0 else rollout_pb2.VERDICT_STATUS_INCORRECT
        for version, start, end in spans:
            info.version_spans.add(policy_version=version, start=start, end=end)
    group.crc32c = payload_crc32c(group)
    return group


@pytest.fixture
def groups() -> list[rollout_pb2.Group]:
    return [
        make_group("a", [1, 2], [([3, 4, 5], [(7, 0, 1), (8, 1, 3)], 5.0, False), ([6], [(8, 0, 1)], -5.0, True)]),
        make_group("b", [9], [([10, 11], [(8, 0, 2)], -5.0, False)]),
    ]


def test_a_batch_lays_prompts_and_responses_end_to_end(groups: list[rollout_pb2.Group]) -> None:
    batch = decode_batch(groups)
    assert batch.token_ids.tolist() == [1, 2, 3, 4, 5, 1, 2, 6, 9, 10, 11]
    assert batch.sequence_lengths.tolist() == [5, 3, 3]
    assert batch.prompt_lengths.tolist() == [2, 2, 1]
    assert batch.group_index.tolist() == [0, 0, 1]
    assert batch.rewards.tolist() == [5.0, -5.0, -5.0]
    assert (batch.truncated.tolist(), batch.response_limits.tolist()) == ([False, True, False], [3, 3, 3])
    assert batch.behaviour_log_probs.tolist() == [-0.5, -1.0, -1.5, -2.0, -0.5, -1.0]


def test_every_token_keeps_the_version_that_produced_it(groups: list[rollout_pb2.Group]) -> None:
    assert token_versions(groups[0].responses[0]).tolist() == [7, 8, 8]
    assert decode_batch(groups).token_versions.tolist() == [7, 8, 8, 8, 8, 8]


def test_a_damaged_group_is_named(groups: list[rollout_pb2.Group]) -> None:
    groups[1].response_token_ids = encode_int32([10, 12])
    with pytest.raises(DamagedGroupError, match="group b: crc32c"):
        decode_batch(groups)


def test_lengths_that_do_not_sum_are_named(groups: list[rollout_pb2.Group]) -> None:
    groups[0].responses[0].length = 2
    with pytest.raises(DamagedGroupError, match="group a: 4 tokens, but its lengths sum to 3"):
        decode_batch(groups)


def test_staleness_counts_from_the_oldest_version_in_a_group(groups: list[rollout_pb2.Group]) -> None:
    assert oldest_policy_version(groups[0]) == 7
    assert staleness_histogram(groups, policy_version=9) == {2: 1, 1: 1}


def test_figures_are_means_over_responses(groups: list[rollout_pb2.Group]) -> None:
    figures = batch_figures(groups, policy_version=9)
    assert figures["reward"] == pytest.approx(-5 / 3)
    assert figures["correct"] == pytest.approx(1 / 3)
    assert figures["truncated"] == pytest.approx(1 / 3)
    assert figures["response_length"] == 2.0
    assert figures["staleness_max"] == 2.0
    assert figures["staleness_mean"] == 1.5


def test_each_term_of_the_reward_is_a_figure_of_its_own(groups: list[rollout_pb2.Group]) -> None:
    assert not [name for name in batch_figures(groups, policy_version=9) if name.startswith("reward_")]
    responses = [response for group in groups for response in group.responses]
    for value, response in enumerate(responses):
        response.verdict.terms.add(name="correctness", value=5.0)
        if value:
            response.verdict.terms.add(name="score", value=float(value))
    figures = batch_figures(groups, policy_version=9)
    assert (figures["reward_correctness"], figures["reward_score"]) == (5.0, 1.5)


def test_the_share_of_groups_without_a_difference_in_reward_is_reported(groups: list[rollout_pb2.Group]) -> None:
    for group, rewards in zip(groups, ((5.0, -5.0), (5.0,)), strict=True):
        for response, reward in zip(group.responses, rewards, strict=True):
            response.verdict.reward = reward
    assert batch_figures(groups, policy_version=9)["equal_rewards"] == 0.5
    for group in groups:
        for response in group.responses:
            response.verdict.reward = -5.0 if group is groups[0] else 5.0
    assert batch_figures(groups, policy_version=9)["equal_rewards"] == 1.0


def test_shuffled_rewards_are_the_same_rewards_in_another_order() -> None:
    rewards = torch.arange(64, dtype=torch.float64)
    shuffled = shuffle_rewards(rewards, seed=3)
    assert sorted(shuffled.tolist()) == rewards.tolist()
    assert (shuffled == rewards).float().mean() < 0.2
    assert torch.equal(shuffled, shuffle_rewards(rewards, seed=3))
