"""Drawn groups become a training batch."""

import random
from collections.abc import Sequence

import torch

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.runtime.groups import payload_crc32c
from areal_mesh.v1 import rollout_pb2


class DamagedGroupError(ValueError):
    """A group whose buffers are not those that the generator wrote; names the group."""


def decode_batch(groups: Sequence[rollout_pb2.Group]) -> TrainingBatch:
    """Packs groups, in their order, into one batch of whole rollouts.

    Raises:
        DamagedGroupError: a checksum or a length does not hold.
    """
    tokens: list[torch.Tensor] = []
    prompt_lengths: list[int] = []
    for group in groups:
        prompt, responses = _tokens(group)
        for part in responses:
            tokens += [prompt, part]
            prompt_lengths.append(prompt.numel())
    every = [(index, group, response) for index, group in enumerate(groups) for response in group.responses]
    lengths = [response.length for _, _, response in every]
    return TrainingBatch(
        token_ids=torch.cat(tokens),
        sequence_lengths=torch.tensor(lengths) + torch.tensor(prompt_lengths),
        prompt_lengths=torch.tensor(prompt_lengths),
        behaviour_log_probs=torch.cat([_tensor(group.behaviour_log_probs, torch.float32) for group in groups]),
        token_versions=torch.cat([token_versions(response) for _, _, response in every]),
        rewards=torch.tensor([response.verdict.reward for _, _, response in every], dtype=torch.float64),
        group_index=torch.tensor([index for index, _, _ in every]),
        response_limits=torch.tensor(
            [max(group.stage.max_response_tokens, response.length) for _, group, response in every]
        ),
        truncated=torch.tensor(
            [response.finish_reason == rollout_pb2.FINISH_REASON_LENGTH for _, _, response in every]
        ),
    )


def _tokens(group: rollout_pb2.Group) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
    """int64 tokens of a group's prompt and of each of its responses. Raises DamagedGroupError."""
    if payload_crc32c(group) != group.crc32c:
        raise DamagedGroupError(f"group {group.group_id}: crc32c does not match its buffers; the log is damaged")
    responses = _tensor(group.response_token_ids, torch.int32).to(torch.int64)
    lengths = [response.length for response in group.responses]
    if sum(lengths) != responses.numel():
        raise DamagedGroupError(
            f"group {group.group_id}: {responses.numel()} tokens, but its lengths sum to {sum(lengths)}"
        )
    return _tensor(group.prompt_token_ids, torch.int32).to(torch.int64), torch.split(responses, lengths)


def token_versions(response: rollout_pb2.ResponseInfo) -> torch.Tensor:
    """int64 [length]: the policy version of each token of a response."""
    counts = torch.tensor([span.end - span.start for span in response.version_spans])
    stamps = torch.tensor([span.policy_version for span in response.version_spans])
    return stamps.repeat_interleave(counts)


def shuffle_rewards(rewards: torch.Tensor, seed: int) -> torch.Tensor:
    """float64 [n]: the same rewards, each given to some other response; the control experiment of a run."""
    order = list(range(rewards.numel()))
    random.Random(seed).shuffle(order)
    return rewards[torch.tensor(order)]


def _tensor(buffer: bytes, dtype: torch.dtype) -> torch.Tensor:
    return torch.frombuffer(bytearray(buffer), dtype=dtype)
