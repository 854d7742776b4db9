"""The bytes of events: what is written is what is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.replay.events import (
    Chosen,
    Dropped,
    GroupSummary,
    Released,
    Retired,
    RetiredGroup,
    Stored,
    decode,
    encode,
    group_payload,
)

ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
id_tuples = st.lists(ids, max_size=5).map(tuple)
numbers = st.integers(min_value=0, max_value=2**63 - 1)
retired_groups = st.builds(RetiredGroup, ids, numbers, st.integers(min_value=-1, max_value=2**40))
decisions = st.one_of(
    st.builds(Chosen, numbers, id_tuples),
    st.builds(Dropped, id_tuples, numbers, numbers),
    st.builds(Released, numbers),
    st.builds(Retired, numbers, numbers, st.lists(retired_groups, max_size=5).map(tuple)),
)


@given(event=decisions)
def test_a_decision_survives_the_log(event: Chosen | Dropped | Released | Retired) -> None:
    kind, parts = encode(event)
    assert decode(kind, b"".join(parts)) == event


@given(group_id=ids, sequence=numbers, oldest=numbers, payload=st.binary(max_size=100))
def test_a_group_survives_the_log(group_id: str, sequence: int, oldest: int, payload: bytes) -> None:
    stored = Stored(GroupSummary(group_id, sequence, oldest, len(payload)))
    kind, parts = encode(stored, payload)
    assert decode(kind, b"".join(parts)) == stored
    assert group_payload(b"".join(parts)) == payload


def test_an_unknown_kind_says_what_it_means() -> None:
    with pytest.raises(ValueError, match="later version"):
        decode(99, b"")
