"""Rewards of the user's own, called once on the first prompt before a run begins: with its answer, and without one."""

from collections.abc import Iterator, Mapping

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.preview import problems_of
from areal_mesh.rewards.table import targets_of
from areal_mesh.rewards.trial import try_rewards
from areal_mesh.rewards.values import Group
from areal_mesh.runtime.problems import Problem
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.rewards import RewardSettings

_NO_ANSWER = "I do not know."
_STAND_IN = Problem("1", "What is 1 + 1?", ("2",), "")
"""Where there are no prompts yet."""
Tried = Mapping[str, list[float] | str]
"""Of each reward what it gave, or what is wrong with it."""


def tried_rewards(settings: RunSettings) -> Tried:
    """What each reward gives on the first prompt; nothing where the settings name none."""
    targets = targets_of([_in_time(reward) for reward in settings.verifier.reward])
    return try_rewards(targets, _group(first_problem(settings) or _STAND_IN)) if targets else {}


def _in_time(reward: RewardSettings) -> RewardSettings:
    """The reward with the deadline that a check has: whoever waits for it is a person."""
    return reward.model_copy(update={"seconds": min(reward.seconds, reward.check_seconds)})


def first_problem(settings: RunSettings) -> Problem | None:
    """The first problem of the prompt file; None where there is none that can be read, which is told elsewhere."""
    try:
        return next(problems_of(settings), None)
    except CommandFailed:
        return None


def _group(problem: Problem) -> Group:
    answer = f"The answer is \\boxed{{{problem.gold_answers[0]}}}." if problem.gold_answers else "An answer."
    responses = [answer, _NO_ANSWER]
    return Group(
        problem=problem.problem,
        references=list(problem.gold_answers),
        source=problem.source,
        responses=responses,
        verdicts=["correct" if problem.gold_answers else "incorrect", "incorrect"],
        finish_reasons=["stop", "stop"],
        tokens=[len(response.split()) for response in responses],
    )


def reward_faults(tried: Tried) -> Iterator[str]:
    """What is wrong with them, a line each."""
    yield from (f"verifier.reward: {found}" for found in tried.values() if isinstance(found, str))


def rewards_shown(tried: Tried) -> Iterator[str]:
    """What those gave that can be used, a line each."""
    for name, found in tried.items():
        if not isinstance(found, str):
            right, wrong = found
            yield f"reward {name}: {right:g} for the first prompt's answer in a box, {wrong:g} for {_NO_ANSWER!r}"
