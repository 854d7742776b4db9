"""A rollout in full, out of the group that the log has."""

from areal_mesh.rollouts.texts import TextReader
from areal_mesh.rollouts.values import Rollout, RolloutDetail, Span
from areal_mesh.runtime.groups import decode_float32, decode_int32
from areal_mesh.v1 import rollout_pb2


def detail_of(rollout: Rollout, group: rollout_pb2.Group, place: int, texts: TextReader) -> RolloutDetail:
    """All that is stored of the response at a place of its group."""
    response = group.responses[place]
    start = sum(before.length for before in group.responses[:place])
    tokens = slice(start, start + response.length)
    token_ids = decode_int32(group.response_token_ids)[tokens]
    return RolloutDetail(
        rollout=rollout,
        prompt=texts.written(decode_int32(group.prompt_token_ids)),
        normalised=response.verdict.normalised,
        temperature=group.temperature,
        response_limit=group.stage.max_response_tokens,
        tokens=texts.pieces(token_ids),
        token_ids=tuple(token_ids),
        log_probs=tuple(decode_float32(group.behaviour_log_probs)[tokens]),
        spans=tuple(Span(span.policy_version, span.start, span.end) for span in response.version_spans),
    )
