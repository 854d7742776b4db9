"""Groups as bytes on the wire: stored as they came and sent as they were stored, neither decoded nor encoded again."""

from areal_mesh.replay.events import group_start
from areal_mesh.v1 import replay_pb2

_LENGTH_DELIMITED = 2
_GROUP_IN_REQUEST = replay_pb2.AppendGroupRequest.GROUP_FIELD_NUMBER << 3 | _LENGTH_DELIMITED
_GROUP_IN_RESPONSE = bytes([replay_pb2.DrawBatchResponse.GROUP_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])
# A tag or a length takes no more of a message that a parser took.
_VARINT_BYTES = 5


def group_in_request(request: bytes) -> bytes | None:
    """The serialised group in a serialised AppendGroupRequest, of which a parser makes the group of that request.

    None where that is not plain to see: a group in several parts, which a parser merges, or fields of other types.
    """
    group = None
    position = 0
    while position < len(request):
        tag, position = _read_varint(request, position)
        length, position = _read_varint(request, position)
        if tag < 0 or length < 0 or tag & 7 != _LENGTH_DELIMITED or position + length > len(request):
            return None
        if tag == _GROUP_IN_REQUEST:
            if group is not None:
                return None
            group = request[position : position + length]
        position += length
    return group


def group_response(record: bytes) -> bytes:
    """A serialised DrawBatchResponse with the group in the record of a Stored."""
    group = memoryview(record)[group_start(record) :]
    return b"".join((_GROUP_IN_RESPONSE, _varint(len(group)), group))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A number and where the next one begins; -1 where there is none."""
    number = 0
    for place, byte in enumerate(data[position : position + _VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, position + place + 1
    return -1, position
