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
    sequence_lengths: list[int] = []
    prompt_lengths: list[int] = []
    log_probs: list[torch.Tensor] = []
    versions: list[torch.Tensor] = []
    rewards: list[float] = []
    group_index: list[int] = []
    limits: list[int] = []
    truncated: list[bool] = []
    for index, group in enumerate(groups):
        if payload_crc32c(group) != group.crc32c:
            raise DamagedGroupError(f"group {group.group_id}: crc32c does not match its buffers; the log is damaged")
        prompt = _tensor(group.prompt_token_ids, torch.int32).to(torch.int64)
        responses = _tensor(group.response_token_ids, torch.int32).to(torch.int64)
        lengths = [response.length for response in group.responses]
        if sum(lengths) != responses.numel():
            raise DamagedGroupError(
                f"group {group.group_id}: {responses.numel()} tokens, but its lengths sum to {sum(lengths)}"
            )
        for response, part in zip(group.responses, torch.split(responses, lengths), strict=True):
            tokens += [prompt, part]
            sequence_lengths.append(prompt.numel() + response.length)
            prompt_lengths.append(prompt.numel())
            versions.append(token_versions(response))
            rewards.append(response.verdict.reward)
            group_index.append(index)
            limits.append(max(group.stage.max_response_tokens, response.length))
            truncated.append(response.finish_reason == rollout_pb2.FINISH_REASON_LENGTH)
        log_probs.append(_tensor(group.behaviour_log_probs, torch.float32))
    return TrainingBatch(
        token_ids=torch.cat(tokens),
        sequence_lengths=torch.tensor(sequence_lengths),
        prompt_lengths=torch.tensor(prompt_lengths),
        behaviour_log_probs=torch.cat(log_probs),
        token_versions=torch.cat(versions),
        rewards=torch.tensor(rewards, dtype=torch.float64),
        group_index=torch.tensor(group_index),
        response_limits=torch.tensor(limits),
        truncated=torch.tensor(truncated),
    )


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
