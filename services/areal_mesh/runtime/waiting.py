"""Waiting for an event with a deadline."""

import asyncio


async def wait_until(event: asyncio.Event, seconds: float) -> bool:
    """Waits for `event`, `seconds` at most; returns whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
