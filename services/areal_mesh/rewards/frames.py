"""Messages between a service and a reward's process: JSON behind its length in four bytes. Standard library alone."""

import asyncio
import json
from typing import Any

_LENGTH_BYTES = 4
LONGEST_BYTES = 256 << 20


class BrokenFrame(Exception):
    """The other end is gone, or sent something else."""


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next message. Raises BrokenFrame."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "little")
        if length > LONGEST_BYTES:
            raise BrokenFrame(f"a message of {length} bytes")
        value = json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
        raise BrokenFrame("the other end is gone") from error
    if not isinstance(value, dict):
        raise BrokenFrame("no object")
    return value


async def write_frame(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    """Sends a message. Raises BrokenFrame."""
    data = json.dumps(message).encode()
    try:
        writer.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
        await writer.drain()
    except ConnectionError as error:
        raise BrokenFrame("the other end is gone") from error
