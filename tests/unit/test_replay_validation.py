"""What makes a group unfit to be stored, and that the error names the field."""

import math
import struct
from collections.abc import Callable

import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.replay.validation import check_group
from areal_mesh.runtime.errors import MeshError
from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.v1 import rollout_pb2
from tests.unit.stored_groups import make_group

Change = Callable[[rollout_pb2.Group], None]


def with_buffers(group: rollout_pb2.Group, **buffers: bytes) -> None:
    for name, buffer in buffers.items():
        setattr(group, name, buffer)
    group.crc32c = payload_crc32c(group)


@given(lengths=st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=8))
def test_a_good_group_is_summarised(lengths: list[int]) -> None:
    group = make_group(lengths)
    summary, numbers = check_group(group, group.ByteSize())
    assert (summary.group_id, summary.sequence, summary.oldest_policy_version) == ("group-1", 9, 3)
    assert summary.size == len(group.SerializeToString())
    assert (numbers.largest_prompt_token, numbers.largest_response_token) == (7, sum(lengths) - 1)
    assert (numbers.lowest_log_prob, numbers.highest_log_prob) == (-0.5, -0.5)


def _log_prob(value: float) -> Change:
    return lambda group: with_buffers(group, behaviour_log_probs=struct.pack("<7f", *[-1.0] * 6, value))


def _set(path: str, value: object) -> Change:
    *parents, name = path.split(".")

    def change(group: rollout_pb2.Group) -> None:
        target: object = group
        for parent in parents:
            target = target[int(parent)] if parent.isdigit() else getattr(target, parent)  # type: ignore[index]
        setattr(target, name, value)

    return change


BAD: list[tuple[str, Change]] = [
    ("group.group_id", _set("group_id", "")),
    ("group.group_id", _set("group_id", "x" * 257)),
    ("group.prompt_id", _set("prompt_id", "")),
    ("group.sequence", _set("sequence", -1)),
    ("group.temperature", _set("temperature", 0.0)),
    ("group.temperature", _set("temperature", math.nan)),
    ("group.responses", lambda group: group.ClearField("responses")),
    ("group.prompt_token_ids", lambda group: with_buffers(group, prompt_token_ids=b"")),
    ("group.prompt_token_ids", lambda group: with_buffers(group, prompt_token_ids=b"12345")),
    ("group.prompt_token_ids", lambda group: with_buffers(group, prompt_token_ids=encode_int32([1, -1]))),
    ("group.response_token_ids", lambda group: with_buffers(group, response_token_ids=encode_int32([1] * 6))),
    ("group.response_token_ids", lambda group: with_buffers(group, response_token_ids=b"\0" * 27)),
    ("group.response_token_ids", lambda group: with_buffers(group, response_token_ids=encode_int32([1] * 6 + [-5]))),
    ("group.behaviour_log_probs", lambda group: with_buffers(group, behaviour_log_probs=encode_float32([0.0] * 8))),
    ("group.behaviour_log_probs", _log_prob(math.nan)),
    ("group.behaviour_log_probs", _log_prob(math.inf)),
    ("group.behaviour_log_probs", _log_prob(-math.inf)),
    ("group.crc32c", _set("crc32c", 1)),
    ("group.crc32c", _set("prompt_token_ids", encode_int32([5, 6, 8]))),
    ("group.responses[1].length", _set("responses.1.length", 0)),
    ("group.responses[0].finish_reason", _set("responses.0.finish_reason", rollout_pb2.FINISH_REASON_UNSPECIFIED)),
    ("group.responses[1].verdict.status", _set("responses.1.verdict.status", rollout_pb2.VERDICT_STATUS_ERROR)),
    ("group.responses[1].verdict.reward", _set("responses.1.verdict.reward", math.inf)),
    ("group.responses[0].version_spans", lambda group: group.responses[0].ClearField("version_spans")),
    ("group.responses[0].version_spans", lambda group: group.responses[0].version_spans.pop() and None),
    ("group.responses[0].version_spans[0]", _set("responses.0.version_spans.0.start", 1)),
    ("group.responses[0].version_spans[0]", _set("responses.0.version_spans.0.end", 0)),
    ("group.responses[1].version_spans[1]", _set("responses.1.version_spans.1.start", 1)),
    ("group.responses[1].version_spans", _set("responses.1.version_spans.1.end", 5)),
    ("group.responses[0].version_spans[0].policy_version", _set("responses.0.version_spans.0.policy_version", -1)),
    ("group.responses[0].version_spans[1].policy_version", _set("responses.0.version_spans.1.policy_version", 2)),
]


@pytest.mark.parametrize(("field", "change"), BAD)
def test_a_bad_group_is_refused_by_the_name_of_the_field(field: str, change: Change) -> None:
    group = make_group([3, 4])
    change(group)
    with pytest.raises(MeshError) as raised:
        check_group(group, group.ByteSize())
    (detail,) = raised.value.details
    assert isinstance(detail, error_details_pb2.BadRequest)
    assert [violation.field for violation in detail.field_violations] == [field]


def test_large_finite_log_probabilities_are_no_overflow() -> None:
    largest = -3.4028234663852886e38
    group = make_group([3, 4])
    with_buffers(group, behaviour_log_probs=struct.pack("<7f", *[largest] * 7))
    assert check_group(group, group.ByteSize())[0].group_id == "group-1"
