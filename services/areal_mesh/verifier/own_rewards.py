"""Asks the user's own rewards about a batch: group by group, all rewards and all groups at once."""

import asyncio
from collections.abc import Mapping, Sequence

from areal_mesh.rewards.process import RewardProcess
from areal_mesh.rewards.values import Group, RewardFailed
from areal_mesh.verifier.rewards import GradedResponse

UNGRADED = "compares a group, of which a response could not be graded"


async def ask_own(
    rewards: Sequence[RewardProcess], responses: Sequence[GradedResponse]
) -> Mapping[str, Mapping[int, float]]:
    """What each reward gives, by its name and the `id` of the response; responses that are errors have nothing.

    Raises:
        RewardFailed: one of them failed, or compares a group of which a response is an error: the group is asked about
            again once it is graded whole.
    """
    groups = by_group(responses)
    asked = [(reward, group) for reward in rewards for group in groups]
    try:
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(_ask(reward, group)) for reward, group in asked]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    found: dict[str, dict[int, float]] = {reward.target.term: {} for reward in rewards}
    for (reward, _), answer in zip(asked, answers, strict=True):
        found[reward.target.term] |= answer.result()
    return found


def by_group(responses: Sequence[GradedResponse]) -> list[list[GradedResponse]]:
    """The responses of each group, in the order of the first of each."""
    groups: dict[tuple[str, ...], list[GradedResponse]] = {}
    for response in responses:
        groups.setdefault((response.group, response.problem, *response.references), []).append(response)
    return list(groups.values())


async def _ask(reward: RewardProcess, group: Sequence[GradedResponse]) -> dict[int, float]:
    judged = [response for response in group if response.status != "error"]
    if not judged:
        return {}
    if reward.of_group and len(judged) < len(group):
        text = f"reward {reward.target.term}: {UNGRADED}"
        raise RewardFailed(text, text)
    values = await reward.ask(as_group(judged))
    return {id(response): value for response, value in zip(judged, values, strict=True)}


def as_group(responses: Sequence[GradedResponse]) -> Group:
    """Responses to one prompt, as a reward sees them."""
    return Group(
        problem=responses[0].problem,
        references=list(responses[0].references),
        source=responses[0].source,
        responses=[response.response for response in responses],
        verdicts=[response.status for response in responses],
        finish_reasons=[response.finish_reason for response in responses],
        tokens=[response.token_count or 0 for response in responses],
    )
