"""A simulated group as the replay buffer takes it: whole in form, and short, so that a week of them fits a disk."""

from collections.abc import Sequence

from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.v1 import controller_pb2, replay_pb2, rollout_pb2


def append_request(
    lease: controller_pb2.Lease, lengths: Sequence[int], version: int, rewards: tuple[float, float], payload_tokens: int
) -> replay_pb2.AppendGroupRequest:
    """The group of a lease.

    Args:
        lengths: of its responses; one that reached the limit was cut off, and wrong.
        version: that all its tokens come from.
        rewards: of a wrong and of a right answer.
        payload_tokens: that each response carries, of those it is said to have.
    """
    limit = lease.sampling.max_response_tokens
    group = rollout_pb2.Group(
        group_id=lease.group_id,
        prompt_id=lease.prompt.prompt_id,
        stage=lease.stage,
        prompt_token_ids=encode_int32([1]),
        sequence=lease.sequence,
        temperature=lease.sampling.temperature,
    )
    tokens = 0
    for length in lengths:
        carried = min(length, payload_tokens)
        tokens += carried
        right = length < limit
        group.responses.add(
            length=carried,
            finish_reason=rollout_pb2.FINISH_REASON_STOP if right else rollout_pb2.FINISH_REASON_LENGTH,
            version_spans=[rollout_pb2.VersionSpan(policy_version=version, start=0, end=carried)],
            verdict=rollout_pb2.Verdict(
                status=rollout_pb2.VERDICT_STATUS_CORRECT if right else rollout_pb2.VERDICT_STATUS_INCORRECT,
                rule="simulated",
                reward=rewards[right],
            ),
        )
    group.response_token_ids = encode_int32([1] * tokens)
    group.behaviour_log_probs = encode_float32([-1.0] * tokens)
    group.crc32c = payload_crc32c(group)
    return replay_pb2.AppendGroupRequest(group=group, lease_seal=lease.seal)
