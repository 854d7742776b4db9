"""What a group has to satisfy to be stored: everything that drawing and training rely on later.

A group that passes can be cut into responses by its lengths, each token has exactly one version, and no number in it
can make a loss infinite.
"""

import math

from areal_mesh.replay.events import MAX_ID_BYTES, GroupSummary
from areal_mesh.replay.numbers import GroupBuffers, GroupNumbers
from areal_mesh.runtime.errors import MeshError, invalid_argument
from areal_mesh.runtime.groups import buffers_crc32c, oldest_policy_version
from areal_mesh.v1 import rollout_pb2

_TOKEN_BYTES = 4
_LARGEST_INT32 = 2**31 - 1
_GRADED = (rollout_pb2.VERDICT_STATUS_CORRECT, rollout_pb2.VERDICT_STATUS_INCORRECT)
_FINISHED = (rollout_pb2.FINISH_REASON_STOP, rollout_pb2.FINISH_REASON_LENGTH)

LARGEST_VERSION = 2**31 - 1
"""Beyond any run, and what statistics can hold."""


def check_group(group: rollout_pb2.Group) -> tuple[GroupSummary, GroupNumbers]:
    """Checks a group; its summary, whose `size` is its serialised length in bytes, and the extremes of its numbers.

    Raises:
        MeshError: INVALID_ARGUMENT that names the field.
    """
    _check_scalars(group)
    buffers = GroupBuffers.of(group)
    _check_lengths(group, buffers)
    for index, response in enumerate(group.responses):
        _check_response(f"group.responses[{index}]", response)
    numbers = _check_values(group, buffers)
    return GroupSummary(group.group_id, group.sequence, oldest_policy_version(group), group.ByteSize()), numbers


def _check_scalars(group: rollout_pb2.Group) -> None:
    if not 0 < len(group.group_id.encode()) <= MAX_ID_BYTES:
        raise invalid_argument("group.group_id", f"1 to {MAX_ID_BYTES} bytes of UTF-8, as leased")
    if not group.prompt_id:
        raise invalid_argument("group.prompt_id", "is empty; name the prompt as leased")
    if group.sequence < 0:
        raise invalid_argument("group.sequence", f"{group.sequence} is negative; leases count from 0")
    if not (math.isfinite(group.temperature) and group.temperature > 0):
        raise invalid_argument("group.temperature", f"{group.temperature} is not a finite number over 0")
    if not group.responses:
        raise invalid_argument("group.responses", "is empty; a group has at least one response")


def _check_lengths(group: rollout_pb2.Group, buffers: GroupBuffers) -> None:
    prompt = len(buffers.prompt_token_ids)
    if prompt == 0 or prompt % _TOKEN_BYTES:
        raise invalid_argument("group.prompt_token_ids", f"{prompt} bytes; a positive multiple of 4 (int32) is needed")
    for index, response in enumerate(group.responses):
        if response.length <= 0:
            raise invalid_argument(f"group.responses[{index}].length", f"{response.length} is not over 0")
    expected = _TOKEN_BYTES * sum(response.length for response in group.responses)
    for name, buffer, kind in (
        ("response_token_ids", buffers.response_token_ids, "int32"),
        ("behaviour_log_probs", buffers.behaviour_log_probs, "float32"),
    ):
        if len(buffer) != expected:
            raise invalid_argument(
                f"group.{name}",
                f"{len(buffer)} bytes, but the responses' lengths add up to {expected} ({kind}, 4 bytes a token)",
            )


def _check_response(field: str, response: rollout_pb2.ResponseInfo) -> None:
    if response.finish_reason not in _FINISHED:
        raise invalid_argument(f"{field}.finish_reason", "is unspecified; say what the engine said: stop or length")
    if response.verdict.status not in _GRADED:
        raise invalid_argument(
            f"{field}.verdict.status", "is neither correct nor incorrect; a response without a verdict is not stored"
        )
    if not math.isfinite(response.verdict.reward):
        raise invalid_argument(f"{field}.verdict.reward", f"{response.verdict.reward} is not finite")
    position, version = 0, 0
    for index, span in enumerate(response.version_spans):
        path = f"{field}.version_spans[{index}]"
        if span.start != position or span.end <= span.start:
            raise _span_error(path, f"[{span.start}, {span.end}) does not follow token {position}", response.length)
        if span.policy_version < version:
            raise invalid_argument(
                f"{path}.policy_version", f"{span.policy_version} follows {version}; versions start at 0 and never fall"
            )
        if span.policy_version > LARGEST_VERSION:
            raise invalid_argument(f"{path}.policy_version", f"{span.policy_version} is no version of any run")
        position, version = span.end, span.policy_version
    if position != response.length:
        raise _span_error(f"{field}.version_spans", f"they cover {position} tokens", response.length)


def _span_error(field: str, found: str, length: int) -> MeshError:
    return invalid_argument(field, f"{found}; the spans have to cover [0, {length}) without gap or overlap")


def _check_values(group: rollout_pb2.Group, buffers: GroupBuffers) -> GroupNumbers:
    found = buffers_crc32c(buffers.prompt_token_ids, buffers.response_token_ids, buffers.behaviour_log_probs)
    if found != group.crc32c:
        raise invalid_argument(
            "group.crc32c", f"{group.crc32c:#010x}, but the three buffers give {found:#010x}; send the group again"
        )
    numbers = GroupNumbers.of(buffers)
    for name, largest in (
        ("prompt_token_ids", numbers.largest_prompt_token),
        ("response_token_ids", numbers.largest_response_token),
    ):
        if largest > _LARGEST_INT32:
            raise invalid_argument(f"group.{name}", "holds a negative token id")
    if not (math.isfinite(numbers.lowest_log_prob) and math.isfinite(numbers.highest_log_prob)):
        raise invalid_argument("group.behaviour_log_probs", "holds a number that is not finite")
    return numbers
