"""Frames between the pool and its workers: a length and JSON. Nothing that a worker sends is ever unpickled."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Final

MAX_FRAME_BYTES: Final = 1 << 20
_HEADER_BYTES: Final = 4


class BrokenFrame(ConnectionError):
    """The peer closed the connection, or sent what is no frame."""


class FrameTooLong(ValueError):
    """A message has more bytes than a frame may hold."""


def encode(message: dict[str, Any]) -> bytes:
    """One frame.

    Raises:
        FrameTooLong: if it is longer than a frame may be.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise FrameTooLong(f"frame of {len(body)} bytes: at most {MAX_FRAME_BYTES} fit")
    return len(body).to_bytes(_HEADER_BYTES, "little") + body


async def read(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next frame.

    Raises:
        BrokenFrame: at the end of the stream, or where what comes is no frame.
    """
    try:
        length = int.from_bytes(await reader.readexactly(_HEADER_BYTES), "little")
        if length > MAX_FRAME_BYTES:
            raise BrokenFrame(f"frame of {length} bytes announced")
        return _decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise BrokenFrame("the worker closed its connection") from error


def read_blocking(descriptor: int) -> dict[str, Any]:
    """As `read`, from a file descriptor, with `os.read` alone (a worker's sandbox allows little else)."""
    length = int.from_bytes(_read_exactly(descriptor, _HEADER_BYTES), "little")
    if length > MAX_FRAME_BYTES:
        raise BrokenFrame(f"frame of {length} bytes announced")
    return _decode(_read_exactly(descriptor, length))


def write_blocking(descriptor: int, message: dict[str, Any]) -> None:
    """Write one frame to a file descriptor."""
    data = memoryview(encode(message))
    while data:
        data = data[os.write(descriptor, data) :]


def _read_exactly(descriptor: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(descriptor, size - len(parts))
        if not part:
            raise BrokenFrame("the pool closed its connection")
        parts += part
    return bytes(parts)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise BrokenFrame("frame holds no JSON") from error
    if not isinstance(message, dict):
        raise BrokenFrame("frame holds no object")
    return message
