"""Seconds to and from durations."""

from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.runtime.durations import from_duration, to_duration


@given(st.floats(-3e8, 3e8))
def test_a_duration_is_what_protobuf_makes_of_the_nanoseconds(seconds: float) -> None:
    expected = Duration()
    expected.FromNanoseconds(round(seconds * 1e9))
    assert to_duration(seconds) == expected
    assert abs(from_duration(to_duration(seconds)) - seconds) < 1e-6
