"""Seconds to and from `google.protobuf.Duration`."""

from google.protobuf.duration_pb2 import Duration


def to_duration(seconds: float) -> Duration:
    """A duration of so many seconds."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def from_duration(duration: Duration) -> float:
    """Seconds of a duration."""
    return duration.seconds + duration.nanos / 1e9
