"""Groups as they travel: flat little-endian buffers with lengths, version spans and a crc32c over the buffers."""

import sys
from array import array
from typing import TypeVar

import google_crc32c

from areal_mesh.v1 import rollout_pb2

Number = TypeVar("Number", int, float)


def payload_crc32c(group: rollout_pb2.Group) -> int:
    """crc32c over prompt tokens, response tokens and behaviour log-probabilities, in that order."""
    return buffers_crc32c(group.prompt_token_ids, group.response_token_ids, group.behaviour_log_probs)


def buffers_crc32c(prompt_token_ids: bytes, response_token_ids: bytes, behaviour_log_probs: bytes) -> int:
    """The same of buffers that were read from the group already."""
    checksum = google_crc32c.value(prompt_token_ids)
    checksum = google_crc32c.extend(checksum, response_token_ids)
    return int(google_crc32c.extend(checksum, behaviour_log_probs))


def oldest_policy_version(group: rollout_pb2.Group) -> int:
    """The oldest policy version that produced a token of the group. A group without tokens raises ValueError."""
    return min(span.policy_version for response in group.responses for span in response.version_spans)


def newest_policy_version(group: rollout_pb2.Group) -> int:
    """The newest policy version that produced a token of the group. A group without tokens raises ValueError."""
    return max(span.policy_version for response in group.responses for span in response.version_spans)


def encode_int32(values: "array[int] | list[int]") -> bytes:
    """Token ids as little-endian int32."""
    return _little_endian(array("i", values))


def encode_float32(values: "array[float] | list[float]") -> bytes:
    """Log-probabilities as little-endian float32."""
    return _little_endian(array("f", values))


def decode_int32(buffer: bytes) -> "array[int]":
    """The inverse of `encode_int32`. Raises ValueError where the length is no multiple of 4."""
    values = array("i")
    values.frombytes(buffer)
    return _native(values)


def decode_float32(buffer: bytes) -> "array[float]":
    """The inverse of `encode_float32`. Raises ValueError where the length is no multiple of 4."""
    values = array("f")
    values.frombytes(buffer)
    return _native(values)


def _little_endian(values: "array[Number]") -> bytes:
    return _native(values).tobytes()


def _native(values: "array[Number]") -> "array[Number]":
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values
