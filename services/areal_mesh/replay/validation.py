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


def check_group(group: rollout_pb2.Group, size: int) -> tuple[GroupSummary, GroupNumbers]:
    """Checks a group of `size` serialised bytes; its summary, and the extremes of its numbers.

    Raises:
        MeshError: INVALID_ARGUMENT that names the field.
    """
    _check_scalars(group)
    buffers = GroupBuffers.of(group)
    _check_lengths(group, buffers)
    for index, response in enumerate(group.responses):
        _check_response(index, response)
    numbers = _check_values(group, buffers)
    return GroupSummary(group.group_id, group.sequence, oldest_policy_version(group), size), numbers


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


def _check_response(index: int, response: rollout_pb2.ResponseInfo) -> None:
    verdict = response.verdict
    if response.finish_reason not in _FINISHED:
        raise _refused(index, "finish_reason", "is unspecified; say what the engine said: stop or length")
    if verdict.status not in _GRADED:
        raise _refused(
            index, "verdict.status", "is neither correct nor incorrect; a response without a verdict is not stored"
        )
    if not math.isfinite(verdict.reward):
        raise _refused(index, "verdict.reward", f"{verdict.reward} is not finite")
    length, position, version = response.length, 0, 0
    for number, span in enumerate(response.version_spans):
        start, end, made_by = span.start, span.end, span.policy_version
        if start != position or end <= start:
            path = f"version_spans[{number}]"
            raise _span_error(index, path, f"[{start}, {end}) does not follow token {position}", length)
        if not version <= made_by <= LARGEST_VERSION:
            raise _refused(index, f"version_spans[{number}].policy_version", _version_fault(made_by, version))
        position, version = end, made_by
    if position != length:
        raise _span_error(index, "version_spans", f"they cover {position} tokens", length)


def _version_fault(version: int, before: int) -> str:
    if version > LARGEST_VERSION:
        return f"{version} is no version of any run"
    return f"{version} follows {before}; versions start at 0 and never fall"


def _refused(response: int, field: str, fault: str) -> MeshError:
    return invalid_argument(f"group.responses[{response}].{field}", fault)


def _span_error(response: int, field: str, found: str, length: int) -> MeshError:
    return _refused(response, field, f"{found}; the spans have to cover [0, {length}) without gap or overlap")


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
