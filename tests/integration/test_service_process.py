"""A service as a process of its own, through what its host gives it: signals, and a controller that may be away."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

PATIENCE_SECONDS = 60.0
NOBODY = "127.0.0.1:1"


@asynccontextmanager
async def replay_service(folder: Path, controller: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A replay buffer that asks `controller` for membership; its log comes through its standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "areal_mesh.cli", "serve", "replay", "--config", "trial", "--controller", controller),
        *("--set", f"directory={folder}", *arguments),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
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


async def test_a_service_told_to_drain_while_no_controller_answers_ends_at_once(tmp_path: Path) -> None:
    async with replay_service(tmp_path, NOBODY) as process:
        await read_until(process, "serving")
        process.send_signal(signal.SIGTERM)
        # Far from the two minutes that a controller is waited for, and from the time that a drain is given.
        async with asyncio.timeout(15.0):
            assert await process.wait() == 0
