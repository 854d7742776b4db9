"""`areal-mesh status`: the run at a glance, once or as it goes on, for a person or as JSON."""

import asyncio
import json
import sys
from typing import Any

from areal_mesh.cli.control import ask
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.targets import Target
from areal_mesh.client import ControllerUnreachable, MeshClient, MeshClientError, RunStatus


def show_status(target: Target, as_json: bool, watch: bool, interval: float) -> None:
    """Prints the status of the run that is reached; with `watch`, until the run ends."""
    if watch:
        _watch(target, as_json, interval)
    elif as_json:
        status = ask(target, lambda mesh: mesh.status())
        print(json.dumps(status.to_dict(), indent=2))
    else:
        _print_once(target)


def show_why(target: Target) -> None:
    """Prints what each service of the run waits for, and who it is that the others wait for."""
    from areal_mesh.cli.why import why

    status, config = ask(target, _status_and_config)
    for line in why(status, int(config["algorithm"]["batch_groups"])):
        print(line)


async def _status_and_config(mesh: MeshClient) -> tuple[RunStatus, dict[str, Any]]:
    return await mesh.status(), await mesh.config()


def _print_once(target: Target) -> None:
    from rich.console import Console

    from areal_mesh.cli.view import run_view

    status, steps = ask(target, _status_and_stage_steps)
    console = Console()
    if not console.is_terminal:
        # A pipe has no width; nothing is to be cut off at eighty columns.
        console.width = 200
    console.print(run_view(status, steps, {}, size=(console.width, max(60, console.height))))


async def _status_and_stage_steps(mesh: MeshClient) -> tuple[RunStatus, list[int]]:
    return await mesh.status(), await stage_steps(mesh)


async def stage_steps(mesh: MeshClient) -> list[int]:
    """Steps of each stage at most, by the run's settings."""
    return [int(stage["max_steps"]) for stage in (await mesh.config())["stages"]]


def _watch(target: Target, as_json: bool, interval: float) -> None:
    seen: list[RunStatus] = []
    try:
        asyncio.run(_follow(target, as_json, interval, seen))
    except ControllerUnreachable as error:
        # The controller leaves at the end of its run; one that was never there is a failure.
        if not seen:
            raise CommandFailed(str(error)) from error
        print(f"the controller at {target.address} is gone; last seen at step {seen[-1].step}", file=sys.stderr)
    except MeshClientError as error:
        raise CommandFailed(str(error)) from error


async def _follow(target: Target, as_json: bool, interval: float, seen: list[RunStatus]) -> None:
    async with target.mesh() as mesh:
        if as_json:
            async for status in mesh.watch(interval):
                print(json.dumps(status.to_dict()), flush=True)
                seen[:] = [status]
            return
        from rich.console import Console

        from areal_mesh.cli.display import display_for

        with display_for(Console(), await stage_steps(mesh), dict) as display:
            async for status in mesh.watch(interval):
                for step in status.new_steps:
                    display.step(step)
                display.show(status)
                seen[:] = [status]
