"""The commands that ask a run's controller for something, each one call of the client."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.targets import Target
from areal_mesh.client import MeshClient, MeshClientError, Stage

T = TypeVar("T")


def ask(target: Target, call: Callable[[MeshClient], Awaitable[T]]) -> T:
    """Runs one `call` on a client of the controller.

    Raises:
        CommandFailed: in the client's words.
    """

    async def connected() -> T:
        async with target.mesh() as mesh:
            return await call(mesh)

    try:
        return asyncio.run(connected())
    except MeshClientError as error:
        raise CommandFailed(str(error)) from error


def stop_run(target: Target, reason: str) -> None:
    """Ends the run after the step in progress."""
    ask(target, lambda mesh: mesh.stop(reason))
    print("stopping: the run ends after the step in progress; the same `areal-mesh up` goes on with it")


def pause_run(target: Target) -> None:
    """Holds admission."""
    ask(target, lambda mesh: mesh.pause())
    print("paused: nothing new is leased; `areal-mesh resume` goes on")


def resume_run(target: Target) -> None:
    """Ends a pause."""
    ask(target, lambda mesh: mesh.resume())
    print("resumed")


def next_stage(target: Target) -> None:
    """Ends the stage that the run is in."""

    async def advance(mesh: MeshClient) -> Stage:
        return await mesh.advance_stage((await mesh.status()).stage.index)

    stage = ask(target, advance)
    print(f"stage {stage.name}: responses of up to {stage.max_response_tokens} tokens")


def checkpoint_now(target: Target) -> None:
    """Has the learner write a checkpoint after the step in progress."""
    step = ask(target, lambda mesh: mesh.take_checkpoint())
    print(f"the learner writes a checkpoint after step {step}; `areal-mesh checkpoint list` shows it")
