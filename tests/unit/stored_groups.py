"""Groups as a generator sends them to be stored."""

from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.v1 import rollout_pb2


def make_group(lengths: list[int]) -> rollout_pb2.Group:
    """A good group; the second half of each response comes from version 4, the first from version 3."""
    tokens = sum(lengths)
    group = rollout_pb2.Group(
        group_id="group-1",
        prompt_id="prompt-1",
        prompt_token_ids=encode_int32([5, 6, 7]),
        response_token_ids=encode_int32(list(range(tokens))),
        behaviour_log_probs=encode_float32([-0.5] * tokens),
        sequence=9,
        temperature=1.0,
    )
    for length in lengths:
        spans = [rollout_pb2.VersionSpan(policy_version=3, start=0, end=(length + 1) // 2)]
        if length > 1:
            spans.append(rollout_pb2.VersionSpan(policy_version=4, start=(length + 1) // 2, end=length))
        group.responses.add(
            length=length,
            finish_reason=rollout_pb2.FINISH_REASON_STOP,
            version_spans=spans,
            verdict=rollout_pb2.Verdict(status=rollout_pb2.VERDICT_STATUS_CORRECT, reward=5.0),
        )
    group.crc32c = payload_crc32c(group)
    return group
