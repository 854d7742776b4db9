"""A replay buffer as a process of its own, as a host starts it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def replay_service(
    folder: Path, address: str, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A replay buffer that asks the controller at `address` for membership; its log is its standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "areal_mesh.cli", "serve", "replay", "--config", "trial", "--controller", address),
        *("--set", f"directory={folder}", *arguments),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read_until(process: asyncio.subprocess.Process, text: str) -> str:
    """The log up to the first line with `text` in it; fails with all of it if none comes."""
    assert process.stderr is not None
    log = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for line in process.stderr:
            log += line.decode()
            if text in line.decode():
                return log
    raise AssertionError(f"{text!r} was never logged:\n{log}")
