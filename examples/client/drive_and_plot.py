"""Drives a run by the Python client and plots it: follows its steps, ends a stage early, draws the rewards.

    areal-mesh up trial &
    python examples/client/drive_and_plot.py --plot rewards.png

The base install is enough, and matplotlib for the plot.
"""

import argparse
import asyncio
from pathlib import Path

from areal_mesh.client import MeshClient, RequestRefused, RunStatus

ENOUGH_IN_THE_BOX = 0.02
"""Share of truncated responses under which more context changes nothing: then the next stage may come."""


async def followed(address: str, steps: int) -> dict[int, float]:
    """The mean reward of each step, until the run ends or so many of them were seen."""
    rewards: dict[int, float] = {}
    async with MeshClient.connect(address) as mesh:
        async for status in mesh.watch(interval=0.5):
            for step in status.new_steps:
                rewards[step.step] = step.metrics.get("reward", float("nan"))
                print(f"step {step.step}: reward {rewards[step.step]:+.2f}", flush=True)
            if len(rewards) >= steps:
                break
            if status.stage_step > 0 and status.step_metrics.get("truncated", 1.0) < ENOUGH_IN_THE_BOX:
                await next_stage(mesh, status)
    return rewards


async def next_stage(mesh: MeshClient, status: RunStatus) -> None:
    """Goes on to the next stage, if there is one."""
    try:
        stage = await mesh.advance_stage(from_stage=status.stage.index)
        print(f"on to stage {stage.name}: up to {stage.max_response_tokens} tokens", flush=True)
    except RequestRefused as refusal:
        print(f"not now: {refusal}", flush=True)


def plot(rewards: dict[int, float], file: Path) -> None:
    """Draws the rewards over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(list(rewards), list(rewards.values()), marker=".")
    axes.set_xlabel("step")
    axes.set_ylabel("mean reward")
    axes.grid(alpha=0.3)
    figure.savefig(file)


def main() -> None:
    """Follows a run, and plots what was seen of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--controller", default="127.0.0.1:7400")
    parser.add_argument("--steps", type=int, default=1000, help="at most")
    parser.add_argument("--plot", type=Path, default=Path("rewards.png"))
    options = parser.parse_args()
    rewards = asyncio.run(followed(options.controller, options.steps))
    plot(rewards, options.plot)
    print(f"{options.plot}: {len(rewards)} steps")


if __name__ == "__main__":
    main()
