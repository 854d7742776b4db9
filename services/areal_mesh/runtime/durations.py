"""Seconds to and from `google.protobuf.Duration`."""

from google.protobuf.duration_pb2 import Duration


def to_duration(seconds: float) -> Duration:
    """A duration of so many seconds."""
    # Truncated towards zero, both parts have one sign, as the format asks.
    nanoseconds = round(seconds * 1e9)
    whole = int(nanoseconds / 1_000_000_000) if nanoseconds < 0 else nanoseconds // 1_000_000_000
    return Duration(seconds=whole, nanos=nanoseconds - whole * 1_000_000_000)


def from_duration(duration: Duration) -> float:
    """Seconds of a duration."""
    return duration.seconds + duration.nanos / 1e9
