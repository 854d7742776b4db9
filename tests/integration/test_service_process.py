"""A service as a process of its own, through what its host gives it: signals, and a controller that may be away."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from controller_peers import controller, settings_in

from areal_mesh.runtime.service import EXIT_CANNOT_START

PATIENCE_SECONDS = 60.0
NOBODY = "127.0.0.1:1"


@asynccontextmanager
async def replay_service(folder: Path, address: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A replay buffer that asks the controller at `address` for membership; its log is its standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "areal_mesh.cli", "serve", "replay", "--config", "trial", "--controller", address),
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


@pytest.mark.parametrize(
    ("arguments", "theirs"),
    [(("--set", "name=mesh", "--run-id", "two"), "mesh (id two)"), (("--run-id", "one"), "trial (id one)")],
)
async def test_a_service_of_another_run_says_so_and_is_not_to_be_started_again(
    tmp_path: Path, arguments: tuple[str, ...], theirs: str
) -> None:
    async with (
        controller(settings_in(tmp_path), run_id="one") as (_, address),
        replay_service(tmp_path / "other", address, *arguments) as process,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        _, errors = await process.communicate()
    assert process.returncode == EXIT_CANNOT_START
    last_line = errors.decode().splitlines()[-1]
    assert last_line.startswith(f"areal-mesh replay-0: cannot start: the controller at {address} refuses it: ")
    assert f"it serves the run mesh (id one), and replay-0 belongs to {theirs}; " in last_line


async def test_a_service_of_the_run_joins_it_with_its_id_and_without(tmp_path: Path) -> None:
    async with controller(settings_in(tmp_path), run_id="one") as (_, address):
        for arguments in (("--run-id", "one"), ()):
            async with replay_service(tmp_path / "runs", address, "--set", "name=mesh", *arguments) as process:
                await read_until(process, "registered")
