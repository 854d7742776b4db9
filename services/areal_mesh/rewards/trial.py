"""Calls rewards once, so that what is wrong with them is known before a run begins."""

import asyncio
from collections.abc import Sequence

from areal_mesh.rewards.process import RewardProcess
from areal_mesh.rewards.target import Target
from areal_mesh.rewards.values import Group, RewardFailed, RewardUnusable


def try_rewards(targets: Sequence[Target], group: Group) -> dict[str, list[float] | str]:
    """What each gives for `group`, by name: its numbers, or what is wrong with it."""
    return asyncio.run(_try_all(targets, group))


async def _try_all(targets: Sequence[Target], group: Group) -> dict[str, list[float] | str]:
    found = await asyncio.gather(*(_try(target, group) for target in targets))
    return {target.term: value for target, value in zip(targets, found, strict=True)}


async def _try(target: Target, group: Group) -> list[float] | str:
    reward = RewardProcess(target)
    try:
        await reward.start()
        return await reward.ask(group)
    except (RewardUnusable, RewardFailed) as error:
        return str(error)
    finally:
        await reward.close()
