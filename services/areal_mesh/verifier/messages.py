"""Messages of VerifierService as the values of grading and of rewards, and verdicts as messages. No I/O."""

from dataclasses import replace

from areal_mesh.grading.grade import rounded
from areal_mesh.grading.verdict import PROTOCOLS, GradeRequest, Protocol, Verdict, gold_answers
from areal_mesh.runtime.errors import invalid_argument
from areal_mesh.v1 import rollout_pb2, verifier_pb2
from areal_mesh.verifier.rewards import ComposedReward, GradedResponse

UNREFERENCED = Verdict("incorrect", None, None, "no reference")
"""Of a problem without a reference answer, where rewards of the user's own decide alone."""
_STATUSES = {
    "correct": rollout_pb2.VERDICT_STATUS_CORRECT,
    "incorrect": rollout_pb2.VERDICT_STATUS_INCORRECT,
    "error": rollout_pb2.VERDICT_STATUS_ERROR,
}
_FINISH_REASONS = {rollout_pb2.FINISH_REASON_STOP: "stop", rollout_pb2.FINISH_REASON_LENGTH: "length"}


def decode_items(
    request: verifier_pb2.VerifyRequest, default_protocol: str, *, rounded_golds: bool = False
) -> list[GradeRequest]:
    """What is to be graded. Raises INVALID_ARGUMENT naming the field."""
    protocol = _protocol(request, default_protocol)
    requests = [_decode_item(item, index, protocol) for index, item in enumerate(request.items)]
    return [replace(item, golds=rounded(item.golds)) for item in requests] if rounded_golds else requests


def without_references(request: verifier_pb2.VerifyRequest) -> list[int]:
    """Positions of the items that have no reference answer."""
    return [index for index, item in enumerate(request.items) if not item.gold_answers]


def _protocol(request: verifier_pb2.VerifyRequest, default_protocol: str) -> Protocol:
    wanted = request.protocol or default_protocol
    protocol = next((known for known in PROTOCOLS if known == wanted), None)
    if protocol is None:
        raise invalid_argument("protocol", f"{wanted!r} is unknown; choose {' or '.join(PROTOCOLS)}")
    return protocol


def _decode_item(item: verifier_pb2.VerifyItem, index: int, protocol: Protocol) -> GradeRequest:
    try:
        return GradeRequest(item.response, gold_answers(item.gold_answers), protocol)
    except ValueError as error:
        raise invalid_argument(f"items[{index}].gold_answers", str(error)) from error


def decode_graded(item: verifier_pb2.VerifyItem, verdict: Verdict) -> GradedResponse:
    """A response with its verdict, as reward terms see it."""
    return GradedResponse(
        response=item.response,
        status=verdict.status,
        token_count=item.response_tokens or None,
        truncated=item.finish_reason == rollout_pb2.FINISH_REASON_LENGTH,
        problem=item.problem,
        references=tuple(item.gold_answers),
        source=item.source,
        finish_reason=_FINISH_REASONS.get(item.finish_reason, ""),
        group=item.group,
    )


def encode_verdict(verdict: Verdict, composed: ComposedReward) -> rollout_pb2.Verdict:
    """A verdict as it travels; the reward is None for an error, and for an error alone."""
    message = rollout_pb2.Verdict(
        status=_STATUSES[verdict.status],
        extracted=verdict.extracted or "",
        normalised=verdict.normalised or "",
        rule=verdict.rule,
    )
    if composed.reward is not None:
        message.reward = composed.reward
        if len(composed.parts) > 1:
            message.terms.extend(
                rollout_pb2.RewardTerm(name=name, value=value) for name, value in composed.parts.items()
            )
    return message
