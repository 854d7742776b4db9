"""A group as bytes: out of a request and into a response, as a parser would have it."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.replay.events import GroupSummary, Stored, encode
from areal_mesh.replay.wire import group_in_request, group_response
from areal_mesh.v1 import replay_pb2, rollout_pb2

Request = replay_pb2.AppendGroupRequest


def request(prompt: str = "prompt", size: int = 1000) -> Request:
    return Request(
        group=rollout_pb2.Group(group_id="g", prompt_id=prompt, response_token_ids=b"t" * size), lease_seal=b"s" * 16
    )


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 20_000, 3_000_000])
def test_the_group_of_a_request_and_of_the_response_made_of_its_record_are_the_same(size: int) -> None:
    sent = request(size=size)
    payload = group_in_request(sent.SerializeToString())
    assert payload is not None
    assert payload == sent.group.SerializeToString()
    _, parts = encode(Stored(GroupSummary("g" * 200, 7, 3, len(payload))), payload)
    response = group_response(b"".join(parts))
    assert response == replay_pb2.DrawBatchResponse(group=sent.group).SerializeToString()


def test_a_group_in_two_parts_is_left_to_the_parser_which_merges_them() -> None:
    twice = request("one").SerializeToString() + request("two").SerializeToString()
    assert Request.FromString(twice).group.prompt_id == "two"
    assert group_in_request(twice) is None


def test_fields_of_other_types_are_left_to_the_parser() -> None:
    for unknown in (b"\x28\x01", b"\x2d1234", b"\x29" + b"12345678", b"\x2b\x2c"):
        both = unknown + request().SerializeToString()
        assert Request.FromString(both).group == request().group
        assert group_in_request(both) is None


_FIELDS = st.builds(
    lambda tag, content: bytes([tag, len(content)]) + content, st.integers(0, 127), st.binary(max_size=9)
)
_PARTS = st.one_of(st.binary(max_size=6), _FIELDS, st.just(request(size=3).SerializeToString()))


@given(parts=st.lists(_PARTS, max_size=5))
def test_bytes_of_any_kind_give_the_parser_s_group_or_none(parts: list[bytes]) -> None:
    data = b"".join(parts)
    try:
        parsed = Request.FromString(data)
    except (DecodeError, ValueError):
        return
    found = group_in_request(data)
    if found is not None:
        assert rollout_pb2.Group.FromString(found) == parsed.group
